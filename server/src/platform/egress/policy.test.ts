import { describe, expect, it } from 'vitest';
import { StartupError } from '../errors.ts';
import { createEgressPolicy, type EgressPolicy, refusalOf } from './policy.ts';

const https = (policy: EgressPolicy, address: string, port = 443) =>
  refusalOf(policy, { address, port, plain: false });
const http = (policy: EgressPolicy, address: string, port = 80) =>
  refusalOf(policy, { address, port, plain: true });

describe('a policy', () => {
  it('lets polls reach public and private addresses over https, and nothing over http', () => {
    const policy = createEgressPolicy({ purpose: 'poll' });
    expect(https(policy, '1.1.1.1')).toBeNull();
    expect(https(policy, '10.1.2.3')).toBeNull();
    expect(https(policy, 'fd00::1')).toBeNull();
    expect(https(policy, '127.0.0.1')).toMatch(/loopback/);
    expect(http(policy, '1.1.1.1')).toMatch(/https/);
    expect(http(policy, '10.1.2.3')).toMatch(/https/);
  });

  it('lets webhooks reach public addresses only', () => {
    const policy = createEgressPolicy({ purpose: 'webhook' });
    expect(https(policy, '1.1.1.1')).toBeNull();
    expect(https(policy, '10.1.2.3')).toMatch(/private/);
    expect(https(policy, '::ffff:192.168.0.1')).toMatch(/private/);
    expect(https(policy, '169.254.169.254')).toMatch(/metadata/);
  });

  it('opens exactly the blocks that the operator allows, on every port and over http', () => {
    const policy = createEgressPolicy({ purpose: 'poll', allow: ['127.0.0.0/31', 'fe80::/10'] });
    expect(http(policy, '127.0.0.1', 8080)).toBeNull();
    expect(https(policy, '127.0.0.1')).toBeNull();
    expect(http(policy, 'fe80::1')).toBeNull();
    expect(https(policy, '127.0.0.2')).toMatch(/loopback/);
    expect(https(policy, '169.254.169.254')).toMatch(/metadata/);
    expect(http(policy, '10.0.0.1')).toMatch(/https/);
  });

  it('opens an exception on its one port', () => {
    const policy = createEgressPolicy({
      purpose: 'poll',
      exceptions: [{ address: '127.0.0.1', port: 7701 }],
    });
    expect(https(policy, '127.0.0.1', 7701)).toBeNull();
    expect(https(policy, '::ffff:127.0.0.1', 7701)).toBeNull();
    expect(https(policy, '127.0.0.1', 7700)).toMatch(/loopback/);
    expect(https(policy, '127.0.0.2', 7701)).toMatch(/loopback/);
  });

  it('names no address when it refuses', () => {
    const policy = createEgressPolicy({ purpose: 'webhook' });
    expect(https(policy, '10.1.2.3')).not.toMatch(/10\.1/);
  });

  it.each(['10/8', '127.0.0.1', 'localhost', '10.0.0.0/40'])('is not built from %j', text => {
    expect(() => createEgressPolicy({ purpose: 'poll', allow: [text] })).toThrow(StartupError);
    expect(() =>
      createEgressPolicy({ purpose: 'poll', exceptions: [{ address: text.concat('x'), port: 1 }] }),
    ).toThrow(StartupError);
  });
});
