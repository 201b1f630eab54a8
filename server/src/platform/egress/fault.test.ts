import { describe, expect, it } from 'vitest';
import { faultOf } from './fault.ts';

const coded = (code: string) => Object.assign(new Error(`connect ${code} 10.1.2.3:443`), { code });

describe('faultOf', () => {
  it.each([
    ['ECONNREFUSED', 'refused'],
    ['ECONNRESET', 'reset'],
    ['EPIPE', 'reset'],
    ['ETIMEDOUT', 'timeout'],
    ['EHOSTUNREACH', 'unreachable'],
    ['ENETUNREACH', 'unreachable'],
  ])("names %s %s: the server's", (code, reason) => {
    expect(faultOf(coded(code), 'tcp').reason).toBe(reason);
  });

  it.each(['EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM', 'EADDRNOTAVAIL'])(
    'names %s our own, in every phase',
    code => {
      for (const phase of ['dns', 'tcp', 'tls', 'exchange'] as const) {
        expect(faultOf(coded(code), phase).reason).toBe('local_fault');
      }
    },
  );

  it('blames nobody for what it does not know', () => {
    expect(faultOf(new Error('surprise'), 'exchange').reason).toBe('local_fault');
    expect(faultOf('not an error', 'exchange').reason).toBe('local_fault');
  });

  it.each(['ENOTFOUND', 'EAI_AGAIN', 'ENODATA'])('names %s a failure of DNS', code => {
    expect(faultOf(coded(code), 'dns').reason).toBe('dns_failed');
  });

  it('finds a fault of our own among several addresses that failed', () => {
    const refused = new AggregateError([coded('ECONNREFUSED'), coded('EHOSTUNREACH')]);
    expect(faultOf(refused, 'tcp').reason).toBe('refused');
    const exhausted = new AggregateError([coded('ECONNREFUSED'), coded('EMFILE')]);
    expect(faultOf(exhausted, 'tcp').reason).toBe('local_fault');
  });

  it('tells a TLS failure by its phase or its code', () => {
    expect(faultOf(coded('CERT_HAS_EXPIRED'), 'tls')).toMatchObject({
      reason: 'tls_failed',
      message: 'TLS failed (CERT_HAS_EXPIRED)',
    });
    expect(faultOf(coded('ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED'), 'exchange').reason).toBe('tls_failed');
  });

  it('repeats no address and no message', () => {
    for (const code of ['ECONNREFUSED', 'EHOSTUNREACH', 'EMFILE', 'EWHATEVER', 'CERT_HAS_EXPIRED']) {
      expect(faultOf(coded(code), 'tcp').message).not.toMatch(/10\.1|connect E/);
    }
  });
});
