import { afterEach } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import {
  createEgress,
  type Egress,
  type EgressOptions,
  type EgressRequest,
} from '../../src/platform/egress/client.ts';
import { createEgressPolicy } from '../../src/platform/egress/policy.ts';
import type { Lookup } from '../../src/platform/egress/resolver.ts';
import { parseTargetUrl, type TargetUrl } from '../../src/platform/egress/url.ts';
import { type Beast, type ListenerOptions, listen } from './listener.ts';
import { type CertificateFault, certificate, listenTls, type TlsBeast, type TlsLimits } from './tls-zoo.ts';

/** An answer that is as it should be. */
export const empty = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}';
/** What every request carries, and what nothing may repeat. */
export const token = 'Bearer canary-41d7';

const running: { stop(): Promise<void> }[] = [];

afterEach(async () => {
  for (const part of running.splice(0).toReversed()) await part.stop();
});

/** A server until the end of the test; a well-behaved one unless told. */
export async function serve(
  options: ListenerOptions = { onRequest: socket => socket.write(empty) },
): Promise<Beast> {
  const beast = await listen(options);
  running.push(beast);
  return beast;
}

type Options = Partial<EgressOptions> & { allow?: string[] };

/** An egress until the end of the test, allowed to loopback unless told. */
export function start({ allow = ['127.0.0.0/8'], ...options }: Options = {}): Egress {
  const policy = options.policy ?? createEgressPolicy({ purpose: 'poll', allow });
  const egress = createEgress({ clock: systemClock, keepAliveMs: 75_000, ...options, policy });
  running.push({ stop: () => egress.close() });
  return egress;
}

/** The parsed address; throws where the policy refuses it. */
export function target(egress: Egress, url: string): TargetUrl {
  const parsed = parseTargetUrl(url, egress.policy);
  if (!parsed.ok) throw new Error(`${url} ${parsed.detail}`);
  return parsed.url;
}

/** GET with a token, 1 KiB of body and a deadline that no test should reach. */
export const get = (egress: Egress, url: string, request: Partial<EgressRequest> = {}) =>
  egress.get({
    url: target(egress, url),
    maxBodyBytes: 1024,
    totalTimeoutMs: 10_000,
    headers: { authorization: token },
    ...request,
  });

/** A DNS that answers each name with the next of its address lists, and with the last one from then on. */
export function names(table: Record<string, string[][]>): Lookup {
  return async hostname => {
    const answers = table[hostname];
    if (answers === undefined) throw Object.assign(new Error('not found'), { code: 'ENOTFOUND' });
    return answers.length > 1 ? answers.shift()! : answers[0]!;
  };
}

export const portOf = (beast: Beast) => new URL(beast.url).port;

/** An https server until the end of the test, with the certificate that a client has to be given. */
export async function secure(
  fault: CertificateFault,
  limits: TlsLimits = {},
): Promise<{ url: string; ca: string; beast: TlsBeast }> {
  const pair = certificate(fault);
  const beast = await listenTls(pair, limits);
  running.push(beast);
  return { url: beast.url, ca: pair.cert, beast };
}
