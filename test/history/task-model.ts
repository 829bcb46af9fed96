import type { CancelOutput, GetOutput, Operation, SubmitOutput } from './history.js';
import type { Model } from './linearizable.js';

/** One task id as a register: free, or taken by a payload for good, cancelled or not. No worker runs, so nothing else happens to it. */
export type TaskState = { readonly payload: string; readonly cancelled: boolean } | null;
export type TaskInput = Pick<Operation, 'op' | 'input' | 'process'>;
export type TaskOutput = SubmitOutput | GetOutput | CancelOutput;

export const TASK: Model<TaskState, TaskInput, TaskOutput> = {
  initial: null,
  key: (state) => (state === null ? '-' : `${state.payload}${state.cancelled ? ' cancelled' : ''}`),
  step(state, { op, input }, output) {
    switch (op) {
      case 'submit':
        return submit(state, input?.payload as string, output as SubmitOutput | null);
      case 'cancel':
        return cancel(state, output as CancelOutput | null);
      case 'get':
        return get(state, output as GetOutput | null);
      default:
        throw new Error(`${op} is about no task`);
    }
  },
};

function submit(state: TaskState, payload: string, output: SubmitOutput | null): TaskState | undefined {
  const result = state === null ? 'created' : state.payload === payload ? 'existing' : 'conflict';
  if (output !== null && output.result !== result) return undefined;
  if (output?.cancelled !== undefined && output.cancelled !== (state?.cancelled ?? false)) return undefined;
  return state ?? { payload, cancelled: false };
}

function cancel(state: TaskState, output: CancelOutput | null): TaskState | undefined {
  if (output !== null && output.found !== (state !== null)) return undefined;
  return state === null ? null : { payload: state.payload, cancelled: true };
}

function get(state: TaskState, output: GetOutput | null): TaskState | undefined {
  if (output === null) return state;
  if (output.found !== (state !== null)) return undefined;
  if (state !== null && (output.payload !== state.payload || output.cancelled !== state.cancelled)) return undefined;
  return state;
}
