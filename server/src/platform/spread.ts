/**
 * A number from 0 up to, and not including, 1 that is the same for the same texts for ever, and even over many.
 * FNV-1a, http://www.isthe.com/chongo/tech/comp/fnv/, finished with a multiply-shift so that ids which differ
 * only in their last characters still spread.
 */
export function spread(...texts: readonly string[]): number {
  let hash = 0x811c9dc5;
  for (const text of texts) {
    for (let index = 0; index < text.length; index += 1) {
      hash = Math.imul(hash ^ text.charCodeAt(index), 0x01000193);
    }
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash ^= hash >>> 13;
  return (hash >>> 0) / 2 ** 32;
}
