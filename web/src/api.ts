import { ApiError, bodyOf, createClient, type Server } from '@opsfleet/sdk';
import {
  infiniteQueryOptions,
  keepPreviousData,
  MutationCache,
  QueryCache,
  QueryClient,
  queryOptions,
} from '@tanstack/react-query';
import type { ServerSearch } from './pages/server-search.ts';

export const api = createClient({ baseUrl: location.origin });

/** How many rows one request brings. */
const pageSize = 100;
const hourMs = 3_600_000;
const maxRetries = 2;

/** A query cache that reports a lost session once, wherever it is noticed. */
export function createQueryClient(onSignedOut: () => void): QueryClient {
  const onError = (error: unknown): void => {
    if (isSignedOut(error)) onSignedOut();
  };
  return new QueryClient({
    queryCache: new QueryCache({ onError }),
    mutationCache: new MutationCache({ onError }),
    defaultOptions: {
      // The stream says when to read again.
      queries: { staleTime: 30_000, refetchOnWindowFocus: false, retry: mayRetry },
    },
  });
}

export const isSignedOut = (error: unknown): boolean => error instanceof ApiError && error.status === 401;
export const isNotFound = (error: unknown): boolean => error instanceof ApiError && error.status === 404;

/** A refusal stays a refusal; what did not reach the API, or hurt it, may do better the next time. */
const mayRetry = (failures: number, error: unknown): boolean =>
  failures < maxRetries && !(error instanceof ApiError && error.status >= 400 && error.status < 500);

export const sessionQuery = queryOptions({
  queryKey: ['session'],
  queryFn: ({ signal }) => bodyOf(api.GET('/api/v1/session', { signal })),
  staleTime: 60_000,
});

export const summaryQuery = queryOptions({
  queryKey: ['summary'],
  queryFn: async ({ signal }) => (await bodyOf(api.GET('/api/v1/fleet/summary', { signal }))).summary,
});

export const serverListQuery = (search: ServerSearch) =>
  infiniteQueryOptions({
    queryKey: ['servers', search],
    queryFn: ({ pageParam, signal }) => {
      const { health, tag, q, sort, ...exact } = search;
      return bodyOf(
        api.GET('/api/v1/fleet/servers', {
          signal,
          params: {
            query: {
              ...exact,
              ...(health === undefined ? {} : { health_status: health }),
              ...(tag === undefined ? {} : { tags: tag }),
              ...(q === undefined ? {} : { search: q }),
              ...(pageParam === null ? {} : { cursor: pageParam }),
              sort: sort ?? 'name',
              limit: pageSize,
            },
          },
        }),
      );
    },
    initialPageParam: null as string | null,
    getNextPageParam: page => page.next_cursor,
    placeholderData: keepPreviousData,
  });

export const serverQuery = (id: string) =>
  queryOptions({
    queryKey: ['server', id],
    queryFn: async ({ signal }): Promise<Server> =>
      (await bodyOf(api.GET('/api/v1/fleet/servers/{id}', { params: { path: { id } }, signal }))).server,
  });

/** The last hour as it was collected, oldest first. */
export const metricsQuery = (id: string) =>
  queryOptions({
    queryKey: ['server', id, 'metrics'],
    queryFn: async ({ signal }) => {
      const start_time = new Date(Date.now() - hourMs).toISOString();
      const query = { period: '1m', start_time, limit: 1_000 } as const;
      const path = { id };
      const { metrics } = await bodyOf(
        api.GET('/api/v1/fleet/servers/{id}/metrics', { params: { path, query }, signal }),
      );
      return metrics.toReversed();
    },
  });

/** The checks of the last hour, newest first. */
export const healthHistoryQuery = (id: string) =>
  queryOptions({
    queryKey: ['server', id, 'health-history'],
    queryFn: async ({ signal }) => {
      const start_time = new Date(Date.now() - hourMs).toISOString();
      const params = { path: { id }, query: { start_time, limit: 240 } };
      return (await bodyOf(api.GET('/api/v1/fleet/servers/{id}/health-history', { params, signal })))
        .health_checks;
    },
  });
