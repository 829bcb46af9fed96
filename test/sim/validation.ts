import type { TSchema } from 'typebox';
import { Compile } from 'typebox/compile';
import { type Route, type RouteName, routes } from '../../src/protocol/http.js';

interface Check {
  Check(value: unknown): boolean;
  Errors(value: unknown): unknown;
}
interface Checks {
  readonly params: Check;
  readonly query: Check;
  readonly body: Check | null;
  readonly answer: Check | null;
}

const compiled = new Map<RouteName, Checks>();
const compile = (schema: TSchema): Check => Compile(schema) as Check;

function checksOf(name: RouteName): Checks {
  let checks = compiled.get(name);
  if (checks === undefined) {
    const route: Route = routes[name];
    checks = {
      params: compile(route.params),
      query: compile(route.query),
      body: route.body === null ? null : compile(route.body),
      answer: route.answer === null ? null : compile(route.answer),
    };
    compiled.set(name, checks);
  }
  return checks;
}

const complaint = (what: string, check: Check, value: unknown): string =>
  `${what} ${JSON.stringify(value)?.slice(0, 400)} does not fit: ${JSON.stringify(check.Errors(value))?.slice(0, 400)}`;

/** Null: fits its route. What fastify does in front of the handlers. */
export function inputComplaint(name: RouteName, input: { params: unknown; query: unknown; body: unknown }): string | null {
  const checks = checksOf(name);
  if (!checks.params.Check(input.params)) return complaint('params', checks.params, input.params);
  if (!checks.query.Check(input.query)) return complaint('query', checks.query, input.query);
  if (checks.body !== null && !checks.body.Check(input.body)) return complaint('body', checks.body, input.body);
  return null;
}

/** Null: fits its route. fastify would silently drop what the schema does not name. */
export function answerComplaint(name: RouteName, answer: unknown): string | null {
  const check = checksOf(name).answer;
  return check === null || check.Check(answer) ? null : complaint('answer', check, answer);
}
