import { expect, test } from 'vitest';
import { fixture } from '../../test/fixtures.ts';
import { countedInterfaces, parseInterfaces, readNetworkBytes, type Topology } from './network.ts';

function names(file: string, virtual: readonly string[], masters: Record<string, string> = {}): string[] {
  const topology: Topology = { virtual: new Set(virtual), masters: new Map(Object.entries(masters)) };
  return countedInterfaces(parseInterfaces(fixture(file)), topology).map(({ name }) => name);
}

test('received and sent bytes are read from their columns', () => {
  expect(parseInterfaces(fixture('net-dev-debian-12-docker.txt'))[1]).toEqual({
    name: 'enp1s0',
    rxBytes: 8_123_456_789_012,
    txBytes: 734_512_345_678,
  });
});

test('old kernels leave no space after the colon', () => {
  expect(parseInterfaces(fixture('net-dev-linux-2.6.18.txt'))[1]).toEqual({
    name: 'eth0',
    rxBytes: 4_223_456_789,
    txBytes: 3_123_456_789,
  });
});

test('a host: its cards, not what is built on them', () => {
  const virtual = ['lo', 'bond0', 'bond0.40', 'docker0', 'veth1a2b3c4', 'wg0'];
  const masters = { enp1s0: 'bond0', enp2s0: 'bond0' };
  expect(names('net-dev-debian-12-docker.txt', virtual, masters)).toEqual(['enp1s0', 'enp2s0']);
});

test('a virtual function is counted by the card it belongs to', () => {
  const interfaces = [
    { name: 'eth0', rxBytes: 100, txBytes: 10 },
    { name: 'enP1s1', rxBytes: 90, txBytes: 9 },
  ];
  const topology: Topology = { virtual: new Set(['lo']), masters: new Map([['enP1s1', 'eth0']]) };
  expect(countedInterfaces(interfaces, topology)).toEqual([interfaces[0]]);
});

test('this virtual machine: its one card', () => {
  expect(names('net-dev-vm.txt', ['lo', 'ifb0', 'ifb1'])).toEqual(['eth0']);
});

test('a container has no cards: what it was given, by name', () => {
  expect(names('net-dev-container.txt', ['lo', 'eth0', 'tunl0'])).toEqual(['eth0']);
});

test('this machine can be read', async () => {
  const bytes = await readNetworkBytes();
  expect(Number.isSafeInteger(bytes.rxBytes) && bytes.rxBytes >= 0).toBe(true);
  expect(Number.isSafeInteger(bytes.txBytes) && bytes.txBytes >= 0).toBe(true);
});
