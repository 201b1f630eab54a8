import { describe, expect, it } from 'vitest';
import { createEgressPolicy } from './policy.ts';
import { maxUrlLength, parseTargetUrl, type TargetUrl, withPath } from './url.ts';

const closed = createEgressPolicy({ purpose: 'poll' });
const open = createEgressPolicy({ purpose: 'poll', allow: ['127.0.0.0/8'] });

function accepted(text: string, policy = closed): TargetUrl {
  const result = parseTargetUrl(text, policy);
  if (!result.ok) throw new Error(`${text} ${result.detail}`);
  return result.url;
}

const refusedFor = (text: string, policy = closed) => {
  const result = parseTargetUrl(text, policy);
  return result.ok ? null : result.reason;
};

describe('parseTargetUrl', () => {
  it('takes an https address apart', () => {
    expect(accepted('https://Fleet.Example.com/ops?full=1')).toMatchObject({
      href: 'https://fleet.example.com/ops?full=1',
      origin: 'https://fleet.example.com',
      plain: false,
      hostname: 'fleet.example.com',
      port: 443,
      path: '/ops?full=1',
      address: null,
    });
    expect(accepted('https://10.1.2.3:8443')).toMatchObject({
      hostname: '10.1.2.3',
      port: 8443,
      address: '10.1.2.3',
      path: '/',
    });
    expect(accepted('https://[2606:4700::1111]:8443')).toMatchObject({
      hostname: '2606:4700::1111',
      address: '2606:4700::1111',
    });
  });

  it.each([
    ['https://example.com', 'https://example.com'],
    ['https://example.com/', 'https://example.com'],
    ['https://example.com:443/a/', 'https://example.com/a/'],
    ['HTTPS://EXAMPLE.com/A', 'https://example.com/A'],
    ['https://bücher.example/', 'https://xn--bcher-kva.example'],
    ['https://example.com/a/../b', 'https://example.com/b'],
    ['https://134744072/', 'https://8.8.8.8'],
    ['https://node_1.internal', 'https://node_1.internal'],
  ])('writes %s as %s, which parses to itself', (text, href) => {
    expect(accepted(text).href).toBe(href);
    expect(accepted(href).href).toBe(href);
  });

  it.each([
    ['', 'scheme'],
    ['example.com', 'scheme'],
    ['ftp://example.com', 'scheme'],
    ['file:///etc/passwd', 'scheme'],
    ['javascript:alert(1)', 'scheme'],
    ['https:example.com', 'scheme'],
    ['https:/example.com', 'scheme'],
    ['https:///example.com', 'scheme'],
    ['https://', 'scheme'],
    [' https://example.com', 'malformed'],
    ['https://exa\tmple.com', 'malformed'],
    ['https://example.com/\r\nX: 1', 'malformed'],
    ['https://example.com\\@10.0.0.1', 'malformed'],
    ['https://example.com/\0', 'malformed'],
    ['https://[::1', 'malformed'],
    ['https://1.2.3.4.5', 'malformed'],
    ['https://example.com:99999', 'malformed'],
    ['https://user@example.com', 'userinfo'],
    ['https://user:secret@example.com', 'userinfo'],
    ['https://@example.com', 'userinfo'],
    ['https://example.com#fragment', 'fragment'],
    ['https://example.com/#', 'fragment'],
    ['https://example.com.', 'host'],
    ['https://a..example.com', 'host'],
    ['https://-a.example.com', 'host'],
    [`https://${'a'.repeat(64)}.example.com`, 'host'],
    [`https://${'a.'.repeat(127)}example.com`, 'host'],
    ['https://example.com:0', 'port'],
    ['https://example.com:22', 'port'],
    ['https://example.com:5432', 'port'],
    [`https://example.com/${'a'.repeat(maxUrlLength)}`, 'too_long'],
    ['https://127.0.0.1', 'address_denied'],
    ['https://127.1', 'address_denied'],
    ['https://0x7f000001', 'address_denied'],
    ['https://[::1]', 'address_denied'],
    ['https://[::ffff:127.0.0.1]', 'address_denied'],
    ['https://169.254.169.254', 'address_denied'],
    ['https://127.0.0.1', 'address_denied'],
    ['http://example.com', 'plain_denied'],
    ['http://10.0.0.1', 'plain_denied'],
    ['http://8.8.8.8', 'plain_denied'],
  ])('refuses %s: %s', (text, reason) => {
    expect(refusedFor(text)).toBe(reason);
  });

  it('allows http where the operator opened the address, and leaves names to the connection', () => {
    expect(accepted('http://127.0.0.1:8080/x', open)).toMatchObject({ plain: true, port: 8080 });
    expect(accepted('http://localhost', open)).toMatchObject({ plain: true, port: 80, address: null });
    expect(refusedFor('http://10.0.0.1', open)).toBe('plain_denied');
    expect(refusedFor('https://[::1]', open)).toBe('address_denied');
  });

  it('says what an address must be, without repeating it', () => {
    for (const text of [
      'https://user:secret@example.com',
      'http://secret.example.com',
      'https://secret..example.com',
    ]) {
      const result = parseTargetUrl(text, closed);
      expect(result.ok || result.detail).toMatch(/^must /);
      expect(result.ok || result.detail).not.toContain('secret');
    }
  });
});

describe('withPath', () => {
  it.each([
    ['https://h.example', '/health', 'https://h.example/health'],
    ['https://h.example/ops', '/health', 'https://h.example/ops/health'],
    ['https://h.example/ops/', '/health', 'https://h.example/ops/health'],
    ['https://h.example/ops?key=1', '/health', 'https://h.example/ops/health?key=1'],
    ['https://h.example?key=1', '/health', 'https://h.example/health?key=1'],
  ] as const)('%s and %s give %s', (base, path, href) => {
    const url = withPath(accepted(base), path);
    expect(url.href).toBe(href);
    expect(`${url.origin}${url.path}`).toBe(href);
  });
});
