declare const brand: unique symbol;
type Name<Of extends string> = string & { readonly [brand]: Of };
type Count<Of extends string> = number & { readonly [brand]: Of };

export type TaskId = Name<'TaskId'>;
export type NodeId = Name<'NodeId'>;
/** The fencing token of an attempt: larger for every assignment in the cluster, never reused. 0: none yet. */
export type Epoch = Count<'Epoch'>;
/** One registration of a node; larger for every registration in the cluster. A report under an older one is refused. */
export type Session = Count<'Session'>;
/** The log index of the last applied command. */
export type Revision = Count<'Revision'>;

/** Ids of tasks and nodes: a letter or digit, then up to 127 letters, digits and . _ : - */
export const ID_PATTERN = '^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$';
const ID = new RegExp(ID_PATTERN);
export const isId = (value: string): boolean => ID.test(value);

export const taskId = (value: string): TaskId => value as TaskId;
export const nodeId = (value: string): NodeId => value as NodeId;
export const epoch = (value: number): Epoch => value as Epoch;
export const session = (value: number): Session => value as Session;
export const revision = (value: number): Revision => value as Revision;
