import { useMutation, useQuery, useQueryClient, useSuspenseQuery } from '@tanstack/react-query';
import { Link, Outlet, useNavigate } from '@tanstack/react-router';
import { useEffect, useMemo } from 'react';
import { api, sessionQuery, summaryQuery } from '../api.ts';
import { useLive } from '../live.ts';
import { Brand } from './Brand.tsx';
import { KeysProvider, useShortcutSheet, useShortcuts } from './Keys.tsx';
import { LiveChip, useIsStale } from './LiveChip.tsx';
import { problemsOf } from './summary.ts';
import { ThemeToggle } from './ThemeToggle.tsx';

/** The frame of every page behind the sign-in; the live stream runs as long as it is there. */
export function Shell() {
  const live = useLive();
  useEffect(() => live.start(), [live]);
  return (
    <KeysProvider>
      <Frame />
    </KeysProvider>
  );
}

function Frame() {
  const isStale = useIsStale();
  const navigate = useNavigate();
  const shortcuts = useMemo(
    () => [
      { keys: 'g s', does: 'Go to the servers', run: () => void navigate({ to: '/servers' }) },
      { keys: 'n', does: 'Register a server', run: () => void navigate({ to: '/servers/new' }) },
    ],
    [navigate],
  );
  useShortcuts(shortcuts);
  return (
    <div className="shell" data-stale={isStale}>
      <a
        href="#main"
        className="button sr-only focus:not-sr-only focus:fixed focus:top-2 focus:left-2 focus:z-20"
      >
        Skip to the content
      </a>
      <header className="shell-side flex-wrap lg:flex-nowrap">
        <Link to="/servers" className="brand">
          <Brand />
        </Link>
        <Navigation />
        <div className="ms-auto lg:ms-2 lg:mt-3">
          <LiveChip />
        </div>
        <Account />
      </header>
      <main id="main" className="shell-main" tabIndex={-1}>
        <Outlet />
      </main>
    </div>
  );
}

function Navigation() {
  const { data: summary } = useQuery(summaryQuery);
  const problems = summary === undefined ? 0 : problemsOf(summary);
  return (
    <nav aria-label="Main" className="flex gap-1 lg:mt-3 lg:flex-col">
      <Link to="/servers" className="nav-link" activeOptions={{ includeSearch: false }}>
        Servers
        {problems === 0 ? null : (
          <span className="numbers rounded-full bg-surface-2 px-1.5 text-xs font-semibold text-critical lg:ms-auto">
            {problems}
            <span className="sr-only"> with problems</span>
          </span>
        )}
      </Link>
      <a href="/api" className="nav-link max-sm:hidden">
        API reference
      </a>
    </nav>
  );
}

/** Who is signed in, and their settings. A native disclosure on small screens, open space on large ones. */
function Account() {
  const { data: session } = useSuspenseQuery(sessionQuery);
  const showSheet = useShortcutSheet();
  const queries = useQueryClient();
  const navigate = useNavigate();
  const signOut = useMutation({
    mutationFn: () => api.DELETE('/api/v1/session'),
    async onSuccess() {
      await navigate({ to: '/sign-in', search: {} });
      queries.clear();
    },
  });
  return (
    <div className="flex w-full flex-wrap items-center justify-between gap-x-2 lg:mt-auto lg:flex-col lg:items-stretch">
      <ThemeToggle />
      <button type="button" className="nav-link max-lg:hidden" onClick={showSheet}>
        Keyboard shortcuts <kbd className="kbd ms-auto">?</kbd>
      </button>
      <div className="flex items-center gap-2 lg:mt-2 lg:border-t lg:border-line lg:px-2 lg:pt-3">
        <span className="text-xs text-muted">
          Signed in as <strong className="font-semibold text-text">{session.role}</strong>
        </span>
        <button type="button" className="link ms-auto min-h-6 text-xs" onClick={() => signOut.mutate()}>
          Sign out
        </button>
      </div>
      {signOut.isError ? (
        <p role="alert" className="px-2 text-xs text-critical">
          Signing out failed. Try again.
        </p>
      ) : null}
    </div>
  );
}
