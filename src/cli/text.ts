/** Text that others wrote, made fit for one place on a terminal. */

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not reach the terminal
const ESCAPES = /\u001b\[[0-9;?]*[ -/]*[@-~]|[\u0000-\u001f\u007f-\u009f]/g;

/** One line without control characters: an escape sequence, colours too, is a space. */
export const plain = (text: string): string => text.replace(ESCAPES, ' ');

/** Of a stack the line that says what happened. */
export const firstLine = (text: string): string => plain(/^[^\r\n]*/.exec(text)?.[0] ?? '');

/** As a shell takes it for one word. */
export const shellWord = (word: string): string => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);
