/** '7', '1..500' or '3,9,12..20' to numbers. */
export function seedsOf(text: string): number[] {
  return text.split(',').flatMap((part) => {
    const [from, to] = part.split('..').map(Number);
    if (from === undefined || !Number.isSafeInteger(from) || (to !== undefined && (!Number.isSafeInteger(to) || to < from)))
      throw new Error(`${text} is no seed, range or list of them`);
    return Array.from({ length: (to ?? from) - from + 1 }, (_, at) => from + at);
  });
}
