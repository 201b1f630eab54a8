import type { Egress } from './client.ts';
import { isAnswered, isUnasked } from './fault.ts';
import { createEgressPolicy } from './policy.ts';
import { parseHostPort, parseTargetUrl, type TargetUrl } from './url.ts';

/** Something that is there whenever our own network is: a gateway, a resolver, a page. */
export type Reference = {
  /** As the operator wrote it. */
  target: string;
  url: TargetUrl;
  /** Whether it is asked by HTTP; otherwise it is connected to, and nothing is sent. */
  isHttp: boolean;
};

/** Anywhere: only whoever starts the program names references. Nothing else may be called under this policy. */
export const referencePolicy = createEgressPolicy({ purpose: 'poll', allow: ['0.0.0.0/0', '::/0'] });

/** `detail` continues the setting's name. */
export function parseReference(
  text: string,
): { ok: true; reference: Reference } | { ok: false; detail: string } {
  const isHttp = text.includes('://');
  const parsed = isHttp ? parseTargetUrl(text, referencePolicy) : parseHostPort(text, referencePolicy);
  return parsed.ok ? { ok: true, reference: { target: text, url: parsed.url, isHttp } } : parsed;
}

const timeoutMs = 2_000;
// Whatever answers is there: what it says beyond this is not read.
const maxBodyBytes = 64 * 1024;

/** Whether the reference answers, whatever it answers. Null: we could not ask. `egress` is one under `referencePolicy`. */
export async function askReference(egress: Egress, { url, isHttp }: Reference): Promise<boolean | null> {
  const failure = isHttp ? await getAnything(egress, url) : await egress.connect(url, timeoutMs);
  if (failure === null) return true;
  return isUnasked(failure.reason) ? null : isAnswered(failure.reason);
}

async function getAnything(egress: Egress, url: TargetUrl) {
  const reply = await egress.get({
    url,
    maxBodyBytes,
    connectTimeoutMs: timeoutMs,
    totalTimeoutMs: timeoutMs,
    keepAlive: false,
  });
  return reply.ok ? null : reply;
}
