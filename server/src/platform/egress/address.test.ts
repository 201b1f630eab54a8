import { describe, expect, it } from 'vitest';
import { canonicalAddress, cidrContains, classifyAddress, parseCidr } from './address.ts';

describe('classifyAddress', () => {
  it.each([
    '1.1.1.1',
    '8.8.8.8',
    '172.15.255.255',
    '172.32.0.1',
    '100.63.255.255',
    '100.128.0.1',
    '192.0.1.1',
    '198.17.0.1',
    '198.20.0.1',
    '223.255.255.255',
    '::ffff:8.8.8.8',
    '64:ff9b::808:808',
    '2606:4700:4700::1111',
    '2a00:1450:4001:82a::200e',
  ])('%s is public', address => {
    expect(classifyAddress(address)).toBe('public');
  });

  it.each([
    ['10.0.0.1', 'RFC 1918'],
    ['172.16.0.1', 'RFC 1918'],
    ['172.31.255.254', 'RFC 1918'],
    ['192.168.1.1', 'RFC 1918'],
    ['100.64.0.1', 'carrier-grade NAT'],
    ['100.127.255.254', 'carrier-grade NAT'],
    ['fc00::1', 'unique local'],
    ['fd12:3456:789a::1', 'unique local'],
    ['::ffff:10.0.0.1', 'RFC 1918, mapped'],
  ])('%s is private: %s', address => {
    expect(classifyAddress(address)).toBe('private');
  });

  it.each([
    ['0.0.0.0', 'unspecified'],
    ['0.1.2.3', 'this network'],
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['169.254.169.254', 'metadata'],
    ['169.254.170.2', 'metadata of ECS'],
    ['100.100.100.200', 'metadata of Alibaba Cloud'],
    ['168.63.129.16', 'Azure'],
    ['192.0.0.1', 'protocol assignments'],
    ['192.0.0.192', 'metadata of Oracle Cloud'],
    ['192.0.2.1', 'documentation'],
    ['198.51.100.1', 'documentation'],
    ['203.0.113.1', 'documentation'],
    ['192.88.99.1', '6to4 relay'],
    ['198.18.0.1', 'benchmarking'],
    ['198.19.255.255', 'benchmarking'],
    ['224.0.0.1', 'multicast'],
    ['239.255.255.255', 'multicast'],
    ['240.0.0.1', 'reserved'],
    ['255.255.255.255', 'broadcast'],
    ['::', 'unspecified'],
    ['::1', 'loopback'],
    ['::127.0.0.1', 'IPv4-compatible'],
    ['::8.8.8.8', 'IPv4-compatible'],
    ['::ffff:127.0.0.1', 'loopback, mapped'],
    ['::ffff:7f00:1', 'loopback, mapped'],
    ['::ffff:a9fe:a9fe', 'metadata, mapped'],
    ['::ffff:0:127.0.0.1', 'IPv4-translated'],
    ['64:ff9b::127.0.0.1', 'loopback behind NAT64'],
    ['64:ff9b::a9fe:a9fe', 'metadata behind NAT64'],
    ['64:ff9b::10.0.0.1', 'private behind NAT64'],
    ['64:ff9b:1::7f00:1', 'local NAT64'],
    ['2002:7f00:1::', '6to4 of loopback'],
    ['2002:808:808::', '6to4'],
    ['2001:0:4136:e378:8000:63bf:3fff:fdd2', 'Teredo'],
    ['2001:db8::1', 'documentation'],
    ['3fff::1', 'documentation'],
    ['2001:2::1', 'benchmarking'],
    ['2001:10::1', 'ORCHID'],
    ['100::1', 'discard'],
    ['fe80::1', 'link-local'],
    ['fe80::1%eth0', 'link-local with a zone'],
    ['fec0::1', 'site-local'],
    ['fd00:ec2::254', 'metadata of Amazon'],
    ['fd20:ce::254', 'metadata of Google Cloud'],
    ['ff02::1', 'multicast'],
    ['4000::1', 'not assigned'],
    ['', 'nothing'],
    ['localhost', 'a name'],
    ['127.1', 'a short form'],
    ['0x7f000001', 'a hexadecimal form'],
    ['2130706433', 'a decimal form'],
    ['0177.0.0.1', 'an octal form'],
    ['1.1.1.1 ', 'an address and a space'],
  ])('%s is never reached: %s', address => {
    expect(classifyAddress(address)).toBe('never');
  });
});

describe('canonicalAddress', () => {
  it('has one text for every notation of an address', () => {
    expect(canonicalAddress('::FFFF:7f00:1')).toBe('127.0.0.1');
    expect(canonicalAddress('2001:DB8:0:0::1')).toBe('2001:db8::1');
    expect(canonicalAddress('fe80::1%eth0')).toBeNull();
    expect(canonicalAddress('localhost')).toBeNull();
  });
});

const contains = (cidr: string, address: string) => cidrContains(parseCidr(cidr)!, address);

describe('a CIDR', () => {
  it('holds its addresses and no others', () => {
    expect(contains('127.0.0.0/8', '127.255.0.1')).toBe(true);
    expect(contains('127.0.0.0/8', '128.0.0.0')).toBe(false);
    expect(contains('127.0.0.1/32', '127.0.0.1')).toBe(true);
    expect(contains('127.0.0.1/32', '127.0.0.2')).toBe(false);
    expect(contains('fd00::/8', 'fdff::1')).toBe(true);
    expect(contains('fd00::/8', 'fc00::1')).toBe(false);
  });

  it('knows an IPv4 address in its mapped notation, and keeps the families apart', () => {
    expect(contains('127.0.0.0/8', '::ffff:127.0.0.1')).toBe(true);
    expect(contains('::ffff:127.0.0.0/104', '127.0.0.1')).toBe(true);
    expect(contains('0.0.0.0/0', '::1')).toBe(false);
    expect(contains('::/0', '127.0.0.1')).toBe(false);
  });

  it.each([
    '10/8',
    '127.1/8',
    '10.0.0.0',
    '10.0.0.0/33',
    'fd00::/129',
    '10.0.0.0/',
    '/8',
    'localhost/8',
    '10.0.0.0/8/8',
    'fe80::%eth0/10',
    '',
  ])('is not written as %j', text => {
    expect(parseCidr(text)).toBeNull();
  });
});
