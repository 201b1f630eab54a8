import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { useEffect, useMemo, useState } from 'react';
import { serverListQuery, summaryQuery } from '../api.ts';
import { ErrorPanel } from '../components/ErrorPanel.tsx';
import { FilterBar } from '../components/FilterBar.tsx';
import { FleetSentence } from '../components/FleetSentence.tsx';
import { PageTitle } from '../components/PageTitle.tsx';
import { PanelBoundary } from '../components/PanelBoundary.tsx';
import { ServerList } from '../components/ServerList.tsx';
import { FirstServer, NoMatch } from '../components/ServerListEmpty.tsx';
import { useRefusal } from '../components/session.ts';
import { problemsOf } from '../components/summary.ts';
import { formatCount } from '../lib/units.ts';
import { useLive } from '../live.ts';
import { Button } from '../ui/Button.tsx';
import { activeFilters, type ServerSearch } from './server-search.ts';

const route = getRouteApi('/signed-in/servers');

/** The fleet: what is wrong, and every server, live. */
export function ServersPage() {
  const search = route.useSearch();
  const { data: summary } = useQuery(summaryQuery);
  const problems = summary === undefined ? 0 : problemsOf(summary);
  return (
    <div className="mx-auto grid max-w-[1600px] grid-cols-[minmax(0,1fr)] gap-4">
      <div className="flex flex-wrap items-center justify-between gap-3">
        <PageTitle title={`${problems === 0 ? '' : `(${problems}) `}Servers`}>Servers</PageTitle>
        <RegisterLink />
      </div>
      <FleetSentence />
      <PanelBoundary what="The list of servers">
        <Servers search={search} />
      </PanelBoundary>
    </div>
  );
}

function RegisterLink() {
  const refusal = useRefusal('servers:write');
  if (refusal !== undefined) return <Button unavailable={refusal}>Register a server</Button>;
  return (
    <Link to="/servers/new" className="button button-primary">
      Register a server
    </Link>
  );
}

function Servers({ search }: { search: ServerSearch }) {
  const list = useInfiniteQuery(serverListQuery(search));
  const changes = useListChanges(search);
  const servers = useMemo(() => list.data?.pages.flatMap(page => page.servers) ?? [], [list.data]);
  const total = list.data?.pages[0]?.total ?? null;
  const isFiltered = activeFilters(search).length > 0;
  const isEmpty = list.isSuccess && servers.length === 0;
  const refresh = (): void => {
    changes.clear();
    void list.refetch();
  };
  useEffect(() => {
    // Nothing on the screen can jump when there is nothing on it.
    if (isEmpty && changes.count > 0) refresh();
  });

  return (
    <>
      <FilterBar search={search} servers={servers} />
      {list.isError ? (
        <ErrorPanel
          what="The list could not be loaded."
          error={list.error}
          onRetry={refresh}
          {...(servers.length === 0 ? {} : { stillShown: 'The servers below are what was read before.' })}
        />
      ) : null}
      <div className="flex min-h-8 flex-wrap items-center justify-between gap-2">
        <output className="numbers text-muted">
          {total === null || isEmpty
            ? ''
            : `${formatCount(total)} ${total === 1 ? 'server' : 'servers'}${isFiltered ? ' match' : ''}`}
        </output>
        {changes.count > 0 && !isEmpty ? (
          <Button onClick={refresh}>
            {changes.count === 1 ? '1 change' : `${changes.count} changes`} · update the list
          </Button>
        ) : null}
      </div>
      {isEmpty && isFiltered ? <NoMatch search={search} /> : null}
      {isEmpty && !isFiltered ? <FirstServer /> : null}
      {isEmpty || (list.isError && servers.length === 0) ? null : (
        <ServerList
          servers={servers}
          total={total}
          isRefreshing={list.isPlaceholderData}
          hasMore={list.hasNextPage}
          loadMore={() => {
            if (!list.isFetching) void list.fetchNextPage({ cancelRefetch: false });
          }}
        />
      )}
    </>
  );
}

/**
 * Counts what has happened that would change which servers are listed, or their order. The list itself stays
 * as it is until somebody asks for it: rows that jump are rows one clicks by mistake.
 */
function useListChanges(search: ServerSearch): { count: number; clear(): void } {
  const live = useLive();
  const queries = useQueryClient();
  const [known, setKnown] = useState({ search, count: 0 });
  const isHealthFiltered = search.health !== undefined;
  useEffect(
    () =>
      live.onEvent(({ type }) => {
        const changesList =
          type === 'server.registered' ||
          type === 'server.deleted' ||
          type === 'server.updated' ||
          (type === 'server.health_changed' && isHealthFiltered);
        if (!changesList) return;
        setKnown(before => ({ search, count: before.search === search ? before.count + 1 : 1 }));
        // Lists that are not on the screen are simply read again when they come back.
        void queries.invalidateQueries({ queryKey: ['servers'], refetchType: 'none' });
      }),
    [live, queries, search, isHealthFiltered],
  );
  return { count: known.search === search ? known.count : 0, clear: () => setKnown({ search, count: 0 }) };
}
