import { createHash } from 'node:crypto';
import { okJson, type Reply } from './route.ts';

/** Request headers, as far as they matter here. */
type IfNoneMatch = { readonly 'if-none-match'?: string | string[] | undefined };

/**
 * 200 with JSON text and an entity tag of it, or 304 without a body where the caller has just that (RFC 9110 §13.1.2).
 * The tag is a weak one, as compression changes the bytes.
 */
export function okUnlessKnown(headers: IfNoneMatch, jsonText: string): Reply {
  const etag = `W/"${createHash('sha256').update(jsonText).digest('base64url').slice(0, 22)}"`;
  const known = [headers['if-none-match'] ?? []].flat().join(',');
  const isKnown = known.trim() === '*' || tagsOf(known).has(opaque(etag));
  return isKnown ? { status: 304, body: undefined, headers: { etag } } : okJson(jsonText, { etag });
}

// RFC 9110 §8.8.3: no quote inside, so that a comma in a tag splits nothing. Weak and strong compare alike here.
const tagsOf = (list: string): Set<string> => new Set([...list.matchAll(/"[^"]*"/g)].map(([tag]) => tag));
const opaque = (etag: string): string => etag.replace(/^W\//, '');
