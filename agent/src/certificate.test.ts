import { createPrivateKey, X509Certificate } from 'node:crypto';
import { expect, test } from 'vitest';
import { selfSigned } from './certificate.ts';

const subject = {
  commonName: 'wëb-1',
  dnsNames: ['web-1.example.com', 'localhost'],
  ipAddresses: ['127.0.0.1', '::1', 'fe80::2ff:fe00:1', '2001:db8:0:1:2:3:4:5'],
  notBefore: new Date('2026-01-01T00:00:00Z'),
  notAfter: new Date('2036-12-31T23:59:59Z'),
};

test('it says what it was made from, and is signed with its own key', () => {
  const { cert, key } = selfSigned(subject);
  const certificate = new X509Certificate(cert);

  expect(certificate.subject).toBe('CN=wëb-1');
  expect(certificate.issuer).toBe(certificate.subject);
  expect(certificate.validFromDate).toEqual(subject.notBefore);
  expect(certificate.validToDate).toEqual(subject.notAfter);
  expect(certificate.ca).toBe(false);
  expect(certificate.keyUsage).toEqual(['1.3.6.1.5.5.7.3.1']);
  expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
  expect(certificate.verify(certificate.publicKey)).toBe(true);
  expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true);
});

test('every name and address is accepted, and no other', () => {
  const certificate = new X509Certificate(selfSigned(subject).cert);
  for (const name of subject.dnsNames) expect(certificate.checkHost(name)).toBe(name);
  for (const address of subject.ipAddresses) expect(certificate.checkIP(address)).toBe(address);
  expect(certificate.checkHost('example.com')).toBeUndefined();
  expect(certificate.checkIP('127.0.0.2')).toBeUndefined();
});

test('dates from 2050 on, and many addresses, change the encoding and not the meaning', () => {
  const ipAddresses = Array.from({ length: 64 }, (_, index) => `10.0.0.${index}`);
  const notAfter = new Date('2061-02-03T04:05:06Z');
  const certificate = new X509Certificate(selfSigned({ ...subject, ipAddresses, notAfter }).cert);
  expect(certificate.validToDate).toEqual(notAfter);
  expect(certificate.checkIP('10.0.0.63')).toBe('10.0.0.63');
});

test('two certificates share neither serial number nor key', () => {
  const [one, two] = [selfSigned(subject), selfSigned(subject)].map(({ cert }) => new X509Certificate(cert));
  expect(one!.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
  expect(one!.serialNumber).not.toBe(two!.serialNumber);
  expect(one!.publicKey.equals(two!.publicKey)).toBe(false);
});

test('what is no address is refused', () => {
  expect(() => selfSigned({ ...subject, ipAddresses: ['web-1'] })).toThrow('"web-1" is not an IP address');
});
