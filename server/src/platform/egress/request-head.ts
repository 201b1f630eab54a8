import { EgressFault } from './fault.ts';
import type { TargetUrl } from './url.ts';

// RFC 9110 §5.6.2 and §5.5. A line break in a value would begin a header, or a request, of somebody else's.
const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;

/**
 * The whole GET as it goes over the wire, in ISO 8859-1. Throws an EgressFault (`local_fault`) for a header that
 * HTTP does not allow; its text repeats neither name nor value.
 */
export function requestHead(
  url: TargetUrl,
  headers: Readonly<Record<string, string>>,
  keep: boolean,
): string {
  const host = url.origin.slice(url.plain ? 'http://'.length : 'https://'.length);
  const connection = keep ? 'keep-alive' : 'close';
  let head = `GET ${url.path} HTTP/1.1\r\nhost: ${host}\r\nconnection: ${connection}\r\naccept-encoding: identity\r\n`;
  for (const name of Object.keys(headers)) {
    const value = headers[name]!;
    if (!fieldName.test(name) || !fieldValue.test(value)) {
      throw new EgressFault('local_fault', 'a header of the request is not allowed in HTTP');
    }
    head += `${name}: ${value}\r\n`;
  }
  return `${head}\r\n`;
}
