import { LazyHandlerRun } from '../cluster/views.js';
import type { Assignment, AssignmentLine } from '../protocol/schemas.js';

/** The JSON of a line, without a line feed. PERF: an input stays the text that it is in the state: no leader parses it to write it out again. */
export function lineText(line: AssignmentLine): string {
  switch (line.type) {
    case 'set':
      return `{"type":"set","term":${line.term},"revision":${line.revision},"assignments":${listText(line.assignments)},"stop":${JSON.stringify(line.stop)}}`;
    case 'change':
      return `{"type":"change","term":${line.term},"revision":${line.revision},"start":${listText(line.start)},"stop":${JSON.stringify(line.stop)}}`;
    default:
      return JSON.stringify(line);
  }
}

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
