/** Where signing in leads when nobody said otherwise. */
export const home = '/servers';

/**
 * The page to return to after signing in, as a link or a bookmark named it: a path of this dashboard, never
 * another site's and never the sign-in page again.
 */
export function returnPath(text: unknown): string {
  if (typeof text !== 'string' || text.length > 2000) return home;
  const base = 'http://dashboard.invalid';
  const url = URL.parse(text, base);
  // `//host`, `/\host` and `scheme:` leave this origin; URL says so, a look at the first characters would not.
  if (url === null || url.origin !== base || !text.startsWith('/') || url.pathname === '/sign-in')
    return home;
  return `${url.pathname}${url.search}`;
}
