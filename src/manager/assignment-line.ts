import { LazyHandlerRun } from '../cluster/views.js';
import { type Assignment, type AssignmentLine, JSON_DEPTH_MAX } from '../protocol/schemas.js';
import { measureJson } from './json-size.js';

/** The JSON of a line, without a line feed. PERF: an input stays the text that it is in the state: no leader parses it to write it out again. */
export function lineText(line: AssignmentLine): string {
  switch (line.type) {
    case 'set':
      return `{"type":"set","term":${line.term},"revision":${line.revision},"assignments":${listText(line.assignments)},"stop":${JSON.stringify(line.stop)}${
        line.later === undefined ? '' : `,"later":${JSON.stringify(line.later)}`
      }}`;
    case 'change':
      return `{"type":"change","term":${line.term},"revision":${line.revision},"start":${listText(line.start)},"stop":${JSON.stringify(line.stop)}}`;
    default:
      return JSON.stringify(line);
  }
}

/** About how long an assignment is as JSON. */
export function assignmentBytes({ run }: Assignment): number {
  return AROUND_BYTES + (run instanceof LazyHandlerRun ? run.inputText.length : measureJson(run, JSON_DEPTH_MAX));
}

const AROUND_BYTES = 200;

function listText(assignments: readonly Assignment[]): string {
  let text = '[';
  for (const assignment of assignments) {
    if (text.length > 1) text += ',';
    text += assignmentText(assignment);
  }
  return `${text}]`;
}

function assignmentText(assignment: Assignment): string {
  const { taskId, epoch, attempt, run, timeoutMs, graceMs } = assignment;
  if (!(run instanceof LazyHandlerRun)) return JSON.stringify(assignment);
  const runText = `{"type":"handler","name":${JSON.stringify(run.name)},"input":${run.inputText}}`;
  return `{"taskId":${JSON.stringify(taskId)},"epoch":${epoch},"attempt":${attempt},"run":${runText},"timeoutMs":${timeoutMs},"graceMs":${graceMs}}`;
}
