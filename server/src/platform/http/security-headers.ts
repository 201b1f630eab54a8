// Nothing inline, nothing from elsewhere, no frame around it. The dashboard's styles and scripts are files of
// this origin; React sets inline styles through the CSSOM, which this policy does not concern.
const contentSecurityPolicy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'self'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const always = {
  'content-security-policy': contentSecurityPolicy,
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  // What an API answers is about now and about one tenant.
  'cache-control': 'no-store',
} as const;

const overTls = { ...always, 'strict-transport-security': 'max-age=31536000' } as const;

/** Headers of every answer. `secure`: the public address is https. */
export function securityHeaders(secure: boolean): Readonly<Record<string, string>> {
  return secure ? overTls : always;
}
