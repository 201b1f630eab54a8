import { AppError } from '../errors.ts';

/** The entity tag of a configuration: how often it was changed. */
export const etagOf = (revision: number): string => `"${revision}"`;

/** Request headers, as far as they matter here. */
export type IfMatch = { readonly 'if-match'?: string | string[] | undefined };

/** Refuses to overwrite a change the caller has not seen (RFC 9110 §13.1.1). Without If-Match anything goes. */
export function checkIfMatch(headers: IfMatch, revision: number): void {
  const expected = headers['if-match'];
  if (expected === undefined || expected === '*' || expected === etagOf(revision)) return;
  throw new AppError('precondition_failed', `It was changed meanwhile; its revision is now ${revision}.`);
}
