/**
 * Addresses that lead, or pretend to lead, to this machine or its surroundings: every notation of the hosts
 * times the ways to write a URL around them. Names resolve to loopback (`ssrfLookup`).
 */
export function ssrfCorpus(port: number): string[] {
  const urls = new Set<string>();
  for (const host of [...loopbackHosts, ...surroundingHosts, ...names]) {
    for (const scheme of ['https', 'http', 'HTTPS']) urls.add(`${scheme}://${host}:${port}/`);
    urls.add(`https://${host}/`);
  }
  for (const host of ['127.0.0.1', '[::1]', '0x7f.1', '169.254.169.254', 'localhost']) {
    for (const disguise of disguises) urls.add(disguise(`${host}:${port}`));
    for (const scheme of schemes) urls.add(`${scheme}${host}:${port}/`);
  }
  return [...urls];
}

/** What a hostile DNS says: every name is this machine, in several ways. */
export async function ssrfLookup(hostname: string): Promise<readonly string[]> {
  if (hostname.startsWith('mixed.')) return ['1.1.1.1', '127.0.0.1'];
  if (hostname.startsWith('six.')) return ['::1'];
  if (hostname.startsWith('mapped.')) return ['::ffff:127.0.0.1'];
  return ['127.0.0.1', '::1'];
}

const loopbackHosts = [
  '127.0.0.1',
  '127.1',
  '127.0.1',
  '127.000.000.001',
  '127.255.255.254',
  '2130706433',
  '017700000001',
  '0x7f000001',
  '0x7F000001',
  '0x7f.0x0.0x0.0x1',
  '0x7f.1',
  '0177.0.0.1',
  '0177.0.0.01',
  '0177.1',
  '0x7f.0.0.0x1',
  '127.0x1',
  '00000177.00.00.01',
  '127.0.0.1.',
  '１２７.０.０.１',
  '①②⑦.⓪.⓪.①',
  '127。0。0。1',
  '%31%32%37.0.0.1',
  '%6c%6f%63%61%6c%68%6f%73%74',
  '[::1]',
  '[0:0:0:0:0:0:0:1]',
  '[0000:0000:0000:0000:0000:0000:0000:0001]',
  '[::0.0.0.1]',
  '[::ffff:127.0.0.1]',
  '[::ffff:7f00:1]',
  '[::FFFF:7F00:0001]',
  '[0:0:0:0:0:ffff:127.0.0.1]',
  '[::127.0.0.1]',
  '[::7f00:1]',
  '[::ffff:0:127.0.0.1]',
  '[64:ff9b::127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b:1::7f00:1]',
  '[2002:7f00:1::]',
  '[2002:7f00:0001::1]',
  '[2001:0:7f00:1::80ff:fffe]',
  '[::1%25lo]',
  '0.0.0.0',
  '0',
  '0x0',
  '00',
  '0.0',
  '0.1.2.3',
  '[::]',
  '[::0]',
  '[::ffff:0.0.0.0]',
];

const surroundingHosts = [
  '169.254.169.254',
  '2852039166',
  '0xa9fea9fe',
  '0251.0376.0251.0376',
  '169.254.43518',
  '169.16689662',
  '169.254.170.2',
  '[::ffff:169.254.169.254]',
  '[::ffff:a9fe:a9fe]',
  '[64:ff9b::a9fe:a9fe]',
  '[2002:a9fe:a9fe::]',
  '[fd00:ec2::254]',
  '[FD00:0EC2::0254]',
  '[fd20:ce::254]',
  '[fe80::1]',
  '[fe80::a9fe:a9fe]',
  '[fec0::1]',
  '[ff02::1]',
  '100.100.100.200',
  '168.63.129.16',
  '192.0.0.192',
  '224.0.0.1',
  '240.0.0.1',
  '255.255.255.255',
  '198.18.0.1',
  '192.0.2.1',
  '[2001:db8::1]',
];

const names = [
  'localhost',
  'LOCALHOST',
  'localhost.',
  'localhost.localdomain',
  'foo.localhost',
  'ip6-localhost',
  'metadata.google.internal',
  '127.0.0.1.nip.io',
  'spoofed.example.com',
  'mixed.example.com',
  'six.example.com',
  'mapped.example.com',
  'ⓛⓞⓒⓐⓛⓗⓞⓢⓣ',
  'loc\u00adalhost',
];

const disguises: ((hostAndPort: string) => string)[] = [
  target => `https://example.com@${target}/`,
  target => `https://example.com:443@${target}/`,
  target => `https://@${target}/`,
  target => `https://:@${target}/`,
  target => `https://example.com%40${target}/`,
  target => `https://${target}@example.com/`,
  target => `https://${target}#@example.com/`,
  target => `https://${target}?@example.com/`,
  target => `https://${target}/@example.com/`,
  target => `https://${target}\\@example.com/`,
  target => `https://example.com\\@${target}/`,
  target => `https:\\\\${target}\\`,
  target => `https:/${target}/`,
  target => `https:${target}/`,
  target => `https:///${target}/`,
  target => `https:////${target}/`,
  target => `//${target}/`,
  target => ` https://${target}/`,
  target => `https://${target}/ `,
  target => `\thttps://${target}/`,
  target => `ht\ntps://${target}/`,
  target => `https://\r\n${target}/`,
  target => `https://${target}/\r\nHost: example.com`,
  target => `https://${target}/%0d%0aX-Injected: 1`,
  target => `https://${target}/..//..//`,
];

const schemes = [
  'ftp://',
  'file://',
  'gopher://',
  'dict://',
  'ldap://',
  'ws://',
  'wss://',
  'blob:https://',
  'data:',
  'unix:',
  'jar:https://',
  '',
];
