import type { SubmitResult } from '../protocol/schemas.js';

/** The JSON of an answer. PERF: of submits, put together without JSON.stringify; ids need no escaping (ID_PATTERN), and neither do states. */
export function textOf(route: string, answer: unknown): string {
  if (route !== 'submitTasks') return JSON.stringify(answer);
  if (!('results' in (answer as object))) return resultText(answer as SubmitResult);
  const { results } = answer as { readonly results: readonly SubmitResult[] };
  let text = '{"results":[';
  for (let at = 0; at < results.length; at++) text += (at === 0 ? '' : ',') + resultText(results[at] as SubmitResult);
  return `${text}]}`;
}

function resultText(result: SubmitResult): string {
  const { id, state, existing, revision, error } = result;
  if (error !== null || state === null) return JSON.stringify(result);
  return `{"id":"${id}","state":"${state}","existing":${existing},"revision":${revision},"error":null}`;
}
