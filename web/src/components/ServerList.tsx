import type { Server } from '@opsfleet/sdk';
import { useWindowVirtualizer, type VirtualItem } from '@tanstack/react-virtual';
import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import { useWatch } from '../live.ts';
import { useDelayed } from '../ui/useDelayed.ts';
import { useMediaQuery } from '../ui/useMediaQuery.ts';
import { ServerCard, SkeletonCard } from './ServerCard.tsx';
import { ServerHead, ServerRow, SkeletonRow } from './ServerRow.tsx';

type Props = {
  servers: readonly Server[];
  /** How many there are, more than are loaded. Null: nothing is loaded yet. */
  total: number | null;
  isRefreshing: boolean;
  hasMore: boolean;
  loadMore(): void;
};

const rowHeight = 56;
const cardHeight = 148;
const overscan = 6;
const skeletonRows = 8;
/** The next page is asked for this many rows before the end, so that scrolling seldom meets it. */
const loadAhead = 40;
/** Watched servers change by whole blocks of rows: the stream is not asked anew for every row scrolled. */
const watchBlock = 50;

/** The servers as a table, or as cards on a narrow screen. Only what is near the window is in the document. */
export function ServerList({ servers, total, isRefreshing, hasMore, loadMore }: Props) {
  const isNarrow = useMediaQuery('(width < 40rem)');
  const isLoading = total === null;
  const showSkeleton = useDelayed(isLoading);
  const list = useRef<HTMLDivElement>(null);
  const [scrollMargin, setScrollMargin] = useState(0);
  const size = isNarrow ? cardHeight : rowHeight;
  // oxlint-disable-next-line react/incompatible-library -- there is no React Compiler here to mistake what it returns
  const rows = useWindowVirtualizer({
    count: servers.length,
    estimateSize: () => size,
    overscan,
    scrollMargin,
    useFlushSync: false,
  });
  const items = rows.getVirtualItems();
  const first = items[0]?.index ?? 0;
  const last = items.at(-1)?.index ?? -1;

  // What stands above the list may grow or shrink with what was read; the list moves with it.
  useEffect(() => {
    const measure = (): void => {
      setScrollMargin((list.current?.getBoundingClientRect().top ?? 0) + window.scrollY);
    };
    const resized = new ResizeObserver(measure);
    resized.observe(document.body);
    return () => resized.disconnect();
  }, []);
  useLayoutEffect(() => rows.measure(), [rows, size]);
  useEffect(() => {
    if (hasMore && last >= servers.length - loadAhead) loadMore();
  }, [hasMore, last, servers.length, loadMore]);
  useWatch(watchedIds(servers, first, last));

  if (isLoading) return <div ref={list}>{showSkeleton ? <Skeletons isNarrow={isNarrow} /> : null}</div>;
  const before = (items[0]?.start ?? scrollMargin) - scrollMargin;
  const after = rows.getTotalSize() - ((items.at(-1)?.end ?? scrollMargin) - scrollMargin);
  const body = { servers, items, total, before, after };
  return (
    <div ref={list} aria-busy={isRefreshing} className={isRefreshing ? 'opacity-70' : ''}>
      {isNarrow ? <Cards {...body} /> : <Table {...body} />}
      {hasMore ? <output className="p-4 text-center text-muted">Loading more servers…</output> : null}
    </div>
  );
}

function watchedIds(servers: readonly Server[], first: number, last: number): string {
  const from = Math.floor(first / watchBlock) * watchBlock;
  const to = Math.ceil((last + 1) / watchBlock) * watchBlock;
  return servers
    .slice(from, to)
    .map(server => server.id)
    .join(',');
}

type Body = {
  servers: readonly Server[];
  items: readonly VirtualItem[];
  total: number;
  /** Heights of what is not in the document, in pixels. */
  before: number;
  after: number;
};

function Table({ servers, items, total, before, after }: Body) {
  return (
    <table className="fleet-table card" aria-label="Servers" aria-rowcount={total + 1}>
      <ServerHead />
      <tbody>
        <Spacer height={before} />
        {items.map(({ index }) => (
          <ServerRow key={servers[index]!.id} server={servers[index]!} rowIndex={index + 2} />
        ))}
        <Spacer height={after} />
      </tbody>
    </table>
  );
}

const Spacer = ({ height }: { height: number }) =>
  height <= 0 ? null : (
    <tr className="spacer" aria-hidden="true">
      {/* oxlint-disable-next-line jsx-a11y/control-has-associated-label -- it is hidden, and stands for nothing */}
      <td colSpan={8} style={{ height }} />
    </tr>
  );

function Cards({ servers, items, total, before, after }: Body) {
  return (
    <ul aria-label="Servers" style={{ paddingBlock: `${before}px ${after}px` }}>
      {items.map(({ index }) => (
        <ServerCard key={servers[index]!.id} server={servers[index]!} position={index + 1} total={total} />
      ))}
    </ul>
  );
}

function Skeletons({ isNarrow }: { isNarrow: boolean }) {
  const places = Array.from({ length: skeletonRows }, (_, n) => n);
  return (
    <div>
      <output className="sr-only">Loading the servers</output>
      {isNarrow ? (
        <ul>
          {places.map(n => (
            <SkeletonCard key={n} />
          ))}
        </ul>
      ) : (
        <table className="fleet-table card" aria-hidden="true">
          <ServerHead />
          <tbody>
            {places.map(n => (
              <SkeletonRow key={n} />
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
