import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import { isIPv4, isIPv6 } from 'node:net';

/** What a self-signed certificate says. Names and addresses become subject alternative names. */
export type CertificateSubject = {
  commonName: string;
  dnsNames: readonly string[];
  ipAddresses: readonly string[];
  notBefore: Date;
  notAfter: Date;
};

/**
 * Makes a P-256 key and a self-signed X.509 v3 server certificate for it (RFC 5280, RFC 5480), both PEM.
 *
 * Node can read certificates but not write them, and the agent has no dependencies: hence this encoder of
 * the dozen DER structures (X.690) that one certificate needs.
 */
export function selfSigned(subject: CertificateSubject): { cert: string; key: string } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const tbs = toBeSigned(subject, publicKey);
  const certificate = sequence(tbs, ecdsaWithSha256, bitString(sign('sha256', tbs, privateKey)));
  return {
    cert: pem('CERTIFICATE', certificate),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  };
}

const tag = {
  boolean: 0x01,
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  objectId: 0x06,
  utf8String: 0x0c,
  utcTime: 0x17,
  generalizedTime: 0x18,
  sequence: 0x30,
  set: 0x31,
} as const;

const commonNameId = objectId(2, 5, 4, 3);
const keyUsageId = objectId(2, 5, 29, 15);
const subjectAltNameId = objectId(2, 5, 29, 17);
const basicConstraintsId = objectId(2, 5, 29, 19);
const extendedKeyUsageId = objectId(2, 5, 29, 37);
const serverAuthId = objectId(1, 3, 6, 1, 5, 5, 7, 3, 1);
const ecdsaWithSha256 = sequence(objectId(1, 2, 840, 10_045, 4, 3, 2));

function toBeSigned(subject: CertificateSubject, publicKey: KeyObject): Buffer {
  const name = sequence(
    der(tag.set, sequence(commonNameId, der(tag.utf8String, Buffer.from(subject.commonName)))),
  );
  const version3 = Buffer.of(2);
  return sequence(
    explicit(0, der(tag.integer, version3)),
    der(tag.integer, serialNumber()),
    ecdsaWithSha256,
    name,
    sequence(time(subject.notBefore), time(subject.notAfter)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    explicit(3, extensions(subject)),
  );
}

function extensions(subject: CertificateSubject): Buffer {
  const digitalSignature = Buffer.of(tag.bitString, 2, 7, 0x80);
  return sequence(
    extension(basicConstraintsId, sequence(), { critical: true }),
    extension(keyUsageId, digitalSignature, { critical: true }),
    extension(extendedKeyUsageId, sequence(serverAuthId)),
    extension(
      subjectAltNameId,
      sequence(
        ...subject.dnsNames.map(name => der(0x82, Buffer.from(name, 'latin1'))),
        ...subject.ipAddresses.map(address => der(0x87, ipBytes(address))),
      ),
    ),
  );
}

function extension(id: Buffer, value: Buffer, options: { critical?: boolean } = {}): Buffer {
  const critical = options.critical ? [der(tag.boolean, Buffer.of(0xff))] : [];
  return sequence(id, ...critical, der(tag.octetString, value));
}

/** 16 random bytes, positive and without a leading zero, as RFC 5280 §4.1.2.2 asks. */
function serialNumber(): Buffer {
  const bytes = randomBytes(16);
  bytes.writeUInt8((bytes.readUInt8(0) & 0x7f) | 0x40, 0);
  return bytes;
}

/** Years up to 2049 have two digits, later ones four (RFC 5280 §4.1.2.5). */
function time(date: Date): Buffer {
  const digits = date.toISOString().replace(/[-T:]|\.\d+/g, '');
  return date.getUTCFullYear() < 2050
    ? der(tag.utcTime, Buffer.from(digits.slice(2)))
    : der(tag.generalizedTime, Buffer.from(digits));
}

function ipBytes(address: string): Buffer {
  if (isIPv4(address)) return Buffer.from(address.split('.').map(Number));
  if (!isIPv6(address)) throw new TypeError(`${JSON.stringify(address)} is not an IP address`);
  const [left = [], right = []] = address.split('::').map(ipv6Groups);
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => 0);
  return Buffer.from([...left, ...zeros, ...right].flatMap(group => [group >> 8, group & 0xff]));
}

function ipv6Groups(text: string): number[] {
  return text === '' ? [] : text.split(':').map(group => Number.parseInt(group, 16));
}

function der(type: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type), derLength(content.length), content]);
}

function derLength(length: number): Buffer {
  if (length < 0x80) return Buffer.of(length);
  return length < 0x100 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 0xff);
}

function sequence(...parts: readonly Buffer[]): Buffer {
  return der(tag.sequence, Buffer.concat(parts));
}

function explicit(number: number, content: Buffer): Buffer {
  return der(0xa0 + number, content);
}

function bitString(content: Buffer): Buffer {
  const noUnusedBits = Buffer.of(0);
  return der(tag.bitString, Buffer.concat([noUnusedBits, content]));
}

/** The first two arcs share a byte; the others are base 128 with a continuation bit (X.690 §8.19). */
function objectId(first: number, second: number, ...arcs: readonly number[]): Buffer {
  const bytes = [first * 40 + second];
  for (const arc of arcs) {
    const groups = [arc & 0x7f];
    for (let rest = arc >> 7; rest > 0; rest >>= 7) groups.unshift((rest & 0x7f) | 0x80);
    bytes.push(...groups);
  }
  return der(tag.objectId, Buffer.from(bytes));
}

function pem(label: string, content: Buffer): string {
  const lines = content.toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}
