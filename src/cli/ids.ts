import { v7 } from 'uuid';

/** An id of our own before the first try: whatever happens to the answer, the same submit again is safe, and a person can ask for it. */
export const uuidv7 = (): string => v7();
