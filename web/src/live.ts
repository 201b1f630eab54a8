import type { Server } from '@opsfleet/sdk';
import type { QueryClient } from '@tanstack/react-query';
import { createContext, use, useCallback, useEffect, useSyncExternalStore } from 'react';
import { createLiveStore, type FleetEvent, type LiveStore, readMessage, withLatest } from './live/store.ts';
import { followStream, type Opened, type Stream, type StreamPhase } from './live/stream.ts';

/** `lastActivityAt`: when the stream last said anything, milliseconds since 1970; null before that. */
export type LiveStatus = { phase: StreamPhase; lastActivityAt: number | null };

export type Live = {
  store: LiveStore;
  status(): LiveStatus;
  subscribeStatus(listener: () => void): () => void;
  /** Asks for the state of these servers as it changes; returns how to stop. At most 200 are followed. */
  watch(ids: readonly string[]): () => void;
  onEvent(listener: (event: FleetEvent) => void): () => void;
  /** Follows the stream until the returned function is called. */
  start(): () => void;
};

const maxWatched = 200;
/** Scrolling changes what is watched many times a second; the stream is asked anew when that settles. */
const settleMs = 300;
/** A burst of changes makes one request for the summary in this time. */
const refreshMs = 1_000;

/** Connects the stream with the store of rows and with what has been read. */
export function createLive(queries: QueryClient, onSignedOut: () => void): Live {
  const store = createLiveStore();
  const statusListeners = new Set<() => void>();
  const eventListeners = new Set<(event: FleetEvent) => void>();
  const watches = new Set<readonly string[]>();
  let status: LiveStatus = { phase: 'connecting', lastActivityAt: null };
  let stream: Stream | null = null;
  let watched = '';
  let settling: ReturnType<typeof setTimeout> | undefined;
  let refreshing: ReturnType<typeof setTimeout> | undefined;

  function changeStatus(changes: Partial<LiveStatus>): void {
    status = { ...status, ...changes };
    for (const listener of statusListeners) listener();
  }

  function refreshSummary(): void {
    refreshing ??= setTimeout(() => {
      refreshing = undefined;
      void queries.invalidateQueries({ queryKey: ['summary'] });
    }, refreshMs);
  }

  function take(type: string, data: string): void {
    const message = readMessage(type, data);
    if (message === null) return;
    store.apply(message);
    if (message.kind === 'resync') void queries.invalidateQueries();
    if (message.kind !== 'event') return;
    refreshSummary();
    if (message.event.type === 'server.updated') {
      void queries.invalidateQueries({ queryKey: ['server', message.event.subject], exact: true });
    }
    for (const listener of eventListeners) listener(message.event);
  }

  const wanted = (): string => [...new Set([...watches].flat())].slice(0, maxWatched).toSorted().join(',');

  function settle(): void {
    clearTimeout(settling);
    settling = setTimeout(() => {
      if (wanted() !== watched) stream?.reopen();
    }, settleMs);
  }

  async function open(lastEventId: string | null, signal: AbortSignal): Promise<Opened> {
    watched = wanted();
    const response = await fetch(`/api/v1/fleet/events${watched === '' ? '' : `?watch=${watched}`}`, {
      headers: lastEventId === null ? {} : { 'last-event-id': lastEventId },
      signal,
    });
    if (response.status === 401) return { kind: 'signed_out' };
    return response.ok && response.body !== null ? { kind: 'open', body: response.body } : { kind: 'failed' };
  }

  return {
    store,
    status: () => status,
    subscribeStatus: listener => listen(statusListeners, listener),
    onEvent: listener => listen(eventListeners, listener),
    watch(ids) {
      watches.add(ids);
      settle();
      return () => {
        watches.delete(ids);
        settle();
      };
    },
    start() {
      const following = followStream({
        open,
        onEvent: event => take(event.type, event.data),
        onPhase(phase) {
          changeStatus({ phase });
          if (phase === 'signed_out') onSignedOut();
        },
        onActivity: () => changeStatus({ lastActivityAt: Date.now() }),
        sleep: sleepUntil,
        random: Math.random,
      });
      stream = following;
      return () => {
        following.close();
        clearTimeout(settling);
        clearTimeout(refreshing);
        refreshing = undefined;
      };
    },
  };
}

function listen<T>(listeners: Set<T>, listener: T): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const sleepUntil = (durationMs: number, signal: AbortSignal): Promise<void> =>
  new Promise(resolve => {
    const timer = setTimeout(resolve, durationMs);
    const wake = (): void => {
      clearTimeout(timer);
      resolve();
    };
    if (signal.aborted) wake();
    signal.addEventListener('abort', wake, { once: true });
  });

export const LiveContext = createContext<Live | null>(null);

export function useLive(): Live {
  const live = use(LiveContext);
  if (live === null) throw new Error('useLive outside of LiveContext');
  return live;
}

export function useLiveStatus(): LiveStatus {
  const live = useLive();
  return useSyncExternalStore(live.subscribeStatus, live.status);
}

/** The server with what the stream has told of it since it was read. Draws anew only for its own changes. */
export function useLatest(server: Server): { server: Server; isDeleted: boolean } {
  const { store } = useLive();
  const { id } = server;
  const subscribe = useCallback((listener: () => void) => store.subscribe(id, listener), [store, id]);
  const latest = useSyncExternalStore(subscribe, () => store.latest(id));
  const isDeleted = useSyncExternalStore(subscribe, () => store.isDeleted(id));
  return { server: withLatest(server, latest), isDeleted };
}

/** Follows these servers while the component is there. `ids` is a text, so that an equal list is the same. */
export function useWatch(ids: string): void {
  const live = useLive();
  useEffect(() => (ids === '' ? undefined : live.watch(ids.split(','))), [live, ids]);
}
