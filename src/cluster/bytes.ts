/**
 * Log entries and state records are one version byte, then JSON in UTF-8, and behind it what is no JSON (handlers' inputs). What a task's life writes again
 * and again stands in arrays with a fixed order (a third of the bytes of the same with names); the rest is objects. A reader refuses a version that it
 * does not know.
 */
export class CodecError extends Error {
  readonly code: 'unknownVersion' | 'unknownCommand' | 'damaged' | 'unwritable';
  constructor(code: CodecError['code'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CodecError';
    this.code = code;
  }
}

const decoder = new TextDecoder();

/** Throws CodecError. `what`: for the message. */
export function parse(bytes: Uint8Array, version: number, what: string): unknown {
  if (bytes[0] !== version) {
    throw new CodecError('unknownVersion', `A ${what} has version ${bytes[0]}, this build reads version ${version}: run the build that wrote it`);
  }
  try {
    return JSON.parse(decoder.decode(bytes.subarray(1)));
  } catch (error) {
    throw new CodecError('damaged', `A ${what} of ${bytes.length} bytes is not JSON: the data is damaged`, { cause: error });
  }
}

/** The same bytes. */
export const viewOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
