import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';

/** Null when the value is valid, else one sentence: where, what was expected, what came. */
export type Validator = (value: unknown) => string | null;

/** Far beyond what the handlers allow inside a task: only there to keep JSON.parse quick. */
export const TEXT_DEPTH_MAX = 1000;

/** PERF: 0.8 us for a task of 360 bytes: typebox's compiled check; the explanation is only looked for once something is wrong. */
export function compileValidator(schema: TSchema, where: 'body' | 'query' | 'path' | 'task'): Validator {
  const compiled = Compile(schema);
  return (value) => {
    if (compiled.Check(value)) return null;
    const found = mismatch(schema as Loose, value, '');
    if (found !== null) return `${where}${found.path}: ${found.text}`;
    const first = compiled.Errors(value)[0];
    return `${where}${first?.instancePath ?? ''}: ${first?.message ?? 'is not valid'}`;
  };
}

/** JSON Schema as typebox writes it, as far as this project uses it. */
interface Loose {
  readonly type?: string;
  readonly anyOf?: readonly Loose[];
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly properties?: { readonly [name: string]: Loose };
  readonly patternProperties?: { readonly [pattern: string]: Loose };
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean;
  readonly items?: Loose;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly maxProperties?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly pattern?: string;
  readonly minimum?: number;
  readonly maximum?: number;
}
interface Mismatch {
  readonly path: string;
  readonly text: string;
}

/** The first thing that does not fit, by the names of the fields. A union is explained by the branch that the value means. */
function mismatch(schema: Loose, value: unknown, path: string): Mismatch | null {
  if (schema.anyOf !== undefined) return unionMismatch(schema.anyOf, value, path);
  const is = (text: string): Mismatch => ({ path, text });
  if (schema.const !== undefined) return value === schema.const ? null : is(`expected ${show(schema.const)}, got ${show(value)}`);
  if (schema.enum !== undefined) return schema.enum.includes(value) ? null : is(`expected one of ${schema.enum.join(', ')}, got ${show(value)}`);
  switch (schema.type) {
    case 'object':
      return isObject(value) ? objectMismatch(schema, value, path) : is(`expected an object, got ${show(value)}`);
    case 'array': {
      if (!Array.isArray(value)) return is(`expected an array, got ${show(value)}`);
      if (value.length < (schema.minItems ?? 0)) return is(`expected at least ${schema.minItems} items, got ${value.length}`);
      if (value.length > (schema.maxItems ?? Infinity)) return is(`expected at most ${schema.maxItems} items, got ${value.length}`);
      for (let at = 0; at < value.length; at += 1) {
        const found = mismatch(schema.items ?? {}, value[at], `${path}[${at}]`);
        if (found !== null) return found;
      }
      return null;
    }
    case 'string': {
      if (typeof value !== 'string') return is(`expected a string, got ${show(value)}`);
      if (value.length < (schema.minLength ?? 0)) return is(`expected at least ${schema.minLength} characters, got ${value.length}`);
      if (value.length > (schema.maxLength ?? Infinity)) return is(`expected at most ${schema.maxLength} characters, got ${value.length}`);
      return schema.pattern === undefined || new RegExp(schema.pattern).test(value) ? null : is(`${show(value)} does not match ${schema.pattern}`);
    }
    case 'integer':
    case 'number': {
      const what = schema.type === 'integer' ? 'an integer' : 'a number';
      if (typeof value !== 'number' || !Number.isFinite(value) || (schema.type === 'integer' && !Number.isInteger(value)))
        return is(`expected ${what}, got ${show(value)}`);
      const { minimum = -Infinity, maximum = Infinity } = schema;
      if (value >= minimum && value <= maximum) return null;
      return is(maximum === Infinity ? `expected ${what} of ${minimum} or more, got ${value}` : `expected ${what} from ${minimum} to ${maximum}, got ${value}`);
    }
    case 'boolean':
      return typeof value === 'boolean' ? null : is(`expected true or false, got ${show(value)}`);
    case 'null':
      return value === null ? null : is(`expected null, got ${show(value)}`);
    default:
      return null;
  }
}

function objectMismatch(schema: Loose, value: { readonly [key: string]: unknown }, path: string): Mismatch | null {
  const names = Object.keys(value);
  const known = schema.properties ?? {};
  const patterns = Object.entries(schema.patternProperties ?? {});
  if (names.length > (schema.maxProperties ?? Infinity)) return { path, text: `expected at most ${schema.maxProperties} fields, got ${names.length}` };
  for (const name of names) {
    const at = `${path}.${name.slice(0, 128)}`;
    const own = Object.hasOwn(known, name) ? known[name] : patterns.find(([pattern]) => new RegExp(pattern).test(name))?.[1];
    if (own !== undefined) {
      const found = value[name] === undefined ? null : mismatch(own, value[name], at);
      if (found !== null) return found;
    } else if (schema.additionalProperties === false) {
      return {
        path: at,
        text: patterns.length > 0 ? `the name does not match ${patterns[0]?.[0]}` : `unknown field; known: ${Object.keys(known).join(', ') || 'none'}`,
      };
    }
  }
  for (const name of schema.required ?? []) {
    if (value[name] === undefined) return { path: `${path}.${name}`, text: `is missing; expected ${describe(known[name] ?? {})}` };
  }
  return null;
}

function unionMismatch(branches: readonly Loose[], value: unknown, path: string): Mismatch | null {
  const open = branches.filter((branch) => ofKind(branch, value));
  const meant = open.length > 1 && isObject(value) ? open.filter((branch) => tagsFit(branch, value)) : open;
  if (meant.length === 1) return mismatch(meant[0] as Loose, value, path);
  if (meant.length === 0 && open.length > 0 && isObject(value)) {
    for (const tag of Object.keys(open[0]?.properties ?? {})) {
      const allowed = open.flatMap((branch) => allowedValues(branch.properties?.[tag] ?? {}) ?? []);
      if (allowed.length > 0) {
        return {
          path: `${path}.${tag}`,
          text:
            value[tag] === undefined ? `is missing; expected one of ${allowed.join(', ')}` : `expected one of ${allowed.join(', ')}, got ${show(value[tag])}`,
        };
      }
    }
  }
  if (meant.some((branch) => mismatch(branch, value, path) === null)) return null;
  return { path, text: `expected ${branches.map(describe).join(' or ')}, got ${show(value)}` };
}

const allowedValues = (schema: Loose): readonly unknown[] | null => (schema.const !== undefined ? [schema.const] : (schema.enum ?? null));

/** Every field of the branch that has fixed values has one of them. */
function tagsFit(branch: Loose, value: { readonly [key: string]: unknown }): boolean {
  return Object.entries(branch.properties ?? {}).every(([name, schema]) => allowedValues(schema)?.includes(value[name]) ?? true);
}

function ofKind(schema: Loose, value: unknown): boolean {
  switch (schema.type) {
    case 'object':
      return isObject(value);
    case 'array':
      return Array.isArray(value);
    case 'integer':
    case 'number':
      return typeof value === 'number';
    case 'null':
      return value === null;
    case undefined:
      return allowedValues(schema)?.includes(value) ?? true;
    default:
      return typeof value === schema.type;
  }
}

function describe(schema: Loose): string {
  if (schema.anyOf !== undefined) return schema.anyOf.map(describe).join(' or ');
  const values = allowedValues(schema);
  if (values !== null) return values.length === 1 ? show(values[0]) : `one of ${values.join(', ')}`;
  if (schema.type === undefined) return 'a value';
  return schema.type === 'null' ? 'null' : `${/^[aeiou]/.test(schema.type) ? 'an' : 'a'} ${schema.type}`;
}

const isObject = (value: unknown): value is { readonly [key: string]: unknown } => typeof value === 'object' && value !== null && !Array.isArray(value);

function show(value: unknown): string {
  if (Array.isArray(value)) return 'an array';
  if (typeof value === 'object' && value !== null) return 'an object';
  if (value === undefined) return 'nothing';
  // 1e999 is read as Infinity, which JSON.stringify would call null.
  if (typeof value === 'number' && !Number.isFinite(value)) return 'a number too large for JSON';
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 76)}..."` : text;
}

/** False when JSON text nests deeper than the bound. For large texts, before they are parsed: JSON.parse takes 7 s for 32 MiB of open brackets (measured, Node 20). */
export function shallowText(text: string, depthMax = TEXT_DEPTH_MAX): boolean {
  let depth = 0;
  for (let at = 0; at < text.length; at += 1) {
    const code = text.charCodeAt(at);
    if (code === 0x22) {
      at += 1;
      for (; at < text.length; at += 1) {
        const inside = text.charCodeAt(at);
        if (inside === 0x22) break;
        if (inside === 0x5c) at += 1;
      }
    } else if (code === 0x5b || code === 0x7b) {
      depth += 1;
      if (depth > depthMax) return false;
    } else if (code === 0x5d || code === 0x7d) depth -= 1;
  }
  return true;
}

/** Query values come as text: those whose schema is a number become one where they look like it; all else is left for the validator to refuse. */
export function queryCoercion(schema: TSchema): (query: { [name: string]: unknown }) => void {
  const numbers = Object.entries((schema as Loose).properties ?? {})
    .filter(([, field]) => field.type === 'integer' || field.type === 'number')
    .map(([name]) => name);
  return (query) => {
    for (const name of numbers) {
      const text = query[name];
      if (typeof text === 'string' && /^-?\d{1,16}(\.\d{1,16})?$/.test(text)) query[name] = Number(text);
    }
  };
}
