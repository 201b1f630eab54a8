import { bareSocketLoop } from './bare-socket.ts';
import type { Loop } from './loop.ts';
import { nodeHttpLoop } from './node-http.ts';
import { undiciDispatchLoop } from './undici-dispatch.ts';
import { undiciRequestLoop } from './undici-request.ts';

/** Every client that budgets are compared with. */
export const LOOPS = {
  'undici-request': undiciRequestLoop,
  'undici-dispatch': undiciDispatchLoop,
  'node-http': nodeHttpLoop,
  'bare-socket': bareSocketLoop,
} satisfies Record<string, () => Loop>;

export type LoopName = keyof typeof LOOPS;
