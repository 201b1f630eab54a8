import { createEventParser, type StreamEvent } from './event-parser.ts';

/**
 * connecting → live ⇄ reconnecting; any → signed_out, which is final, as is closing.
 */
export type StreamPhase = 'connecting' | 'live' | 'reconnecting' | 'signed_out';

/** What asking for the stream brought: its bytes, or why there are none. */
export type Opened =
  | { kind: 'open'; body: ReadableStream<Uint8Array> }
  | { kind: 'signed_out' }
  | { kind: 'failed' };

export type StreamOptions = {
  /** Asks for the stream, from after `lastEventId` on. */
  open(lastEventId: string | null, signal: AbortSignal): Promise<Opened>;
  onEvent(event: StreamEvent): void;
  onPhase(phase: StreamPhase): void;
  /** Bytes have come, if only to say that nothing changed. */
  onActivity(): void;
  /** Resolves after that long, or at once when aborted. */
  sleep(durationMs: number, signal: AbortSignal): Promise<void>;
  /** 0 to 1, for the spread of reconnections. */
  random(): number;
};

export type Stream = {
  /** Ends this connection and asks again, from where it was: what is asked for has changed. */
  reopen(): void;
  close(): void;
};

/** The server says something every 15 s. Twice that in silence, and the connection is believed dead. */
export const maxSilenceMs = 35_000;
const maxDelayMs = 30_000;

/**
 * Follows a stream of server-sent events for as long as it is not closed. Unlike EventSource it can be asked
 * for something else without losing its place, notices a connection that died without a word, and spreads
 * its reconnections, so that a restart of the control plane is not met by every open dashboard at once.
 */
export function followStream(options: StreamOptions): Stream {
  const closed = new AbortController();
  let connection = new AbortController();
  let lastEventId: string | null = null;
  let retryMs = 2_000;
  let failures = 0;
  let isReopening = false;

  async function readOnce(): Promise<'ended' | 'signed_out'> {
    const opened = await options.open(lastEventId, connection.signal);
    if (opened.kind !== 'open') return opened.kind === 'signed_out' ? 'signed_out' : 'ended';
    failures = 0;
    options.onPhase('live');
    const push = createEventParser({
      onEvent(event) {
        lastEventId = event.lastEventId ?? lastEventId;
        options.onEvent(event);
      },
      onRetry: ms => {
        retryMs = ms;
      },
    });
    const reader = opened.body
      .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
      .getReader();
    for (;;) {
      const silence = new AbortController();
      const chunk = await Promise.race([
        reader.read(),
        options.sleep(maxSilenceMs, AbortSignal.any([silence.signal, connection.signal])).then(() => null),
      ]);
      silence.abort();
      if (chunk === null || chunk.done) return 'ended';
      options.onActivity();
      push(chunk.value);
    }
  }

  async function run(): Promise<void> {
    options.onPhase('connecting');
    while (!closed.signal.aborted) {
      connection = new AbortController();
      // A failure of any kind has one answer: ask again.
      const end = await readOnce().catch(() => 'ended' as const);
      connection.abort();
      if (closed.signal.aborted) return;
      if (end === 'signed_out') return options.onPhase('signed_out');
      if (isReopening) {
        isReopening = false;
        continue;
      }
      options.onPhase('reconnecting');
      const delayMs = Math.min(maxDelayMs, retryMs * 2 ** failures);
      failures += 1;
      await options.sleep(delayMs * (0.5 + options.random() / 2), closed.signal);
    }
  }

  void run();
  return {
    reopen() {
      isReopening = true;
      connection.abort();
    },
    close() {
      closed.abort();
      connection.abort();
    },
  };
}
