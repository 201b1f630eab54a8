import type { QueryClient } from '@tanstack/react-query';
import {
  createRootRouteWithContext,
  createRoute,
  createRouter,
  lazyRouteComponent,
  redirect,
} from '@tanstack/react-router';
import { isSignedOut, sessionQuery } from './api.ts';
import { FailedPage, PageFailure } from './components/FailedPage.tsx';
import { NotFoundPage } from './components/NotFoundPage.tsx';
import { Shell } from './components/Shell.tsx';
import { readServerSearch } from './pages/server-search.ts';

const root = createRootRouteWithContext<{ queries: QueryClient }>()({ notFoundComponent: NotFoundPage });

const signIn = createRoute({
  getParentRoute: () => root,
  path: '/sign-in',
  validateSearch: (raw): { next?: string } => (typeof raw['next'] === 'string' ? { next: raw['next'] } : {}),
  component: lazyRouteComponent(() => import('./pages/SignInPage.tsx'), 'SignInPage'),
});

/** Everything inside is for who has signed in; asking once here keeps the pages from all being refused. */
const signedIn = createRoute({
  getParentRoute: () => root,
  id: 'signed-in',
  async beforeLoad({ context, location }) {
    try {
      await context.queries.ensureQueryData(sessionQuery);
    } catch (error) {
      if (isSignedOut(error)) throw redirect({ to: '/sign-in', search: { next: location.href } });
      throw error;
    }
  },
  component: Shell,
  errorComponent: FailedPage,
});

const index = createRoute({
  getParentRoute: () => root,
  path: '/',
  beforeLoad: () => {
    throw redirect({ to: '/servers' });
  },
});

const servers = createRoute({
  getParentRoute: () => signedIn,
  path: '/servers',
  validateSearch: readServerSearch,
  component: lazyRouteComponent(() => import('./pages/ServersPage.tsx'), 'ServersPage'),
});

const serverNew = createRoute({
  getParentRoute: () => signedIn,
  path: '/servers/new',
  component: lazyRouteComponent(() => import('./pages/NewServerPage.tsx'), 'NewServerPage'),
});

const server = createRoute({
  getParentRoute: () => signedIn,
  path: '/servers/$id',
  component: lazyRouteComponent(() => import('./pages/ServerPage.tsx'), 'ServerPage'),
});

const routeTree = root.addChildren([signIn, index, signedIn.addChildren([servers, serverNew, server])]);

/** Every page there is. Addresses carry plain text, so that people can read and write them. */
export const createDashboardRouter = (queries: QueryClient) =>
  createRouter({
    routeTree,
    context: { queries },
    defaultPreload: 'intent',
    defaultErrorComponent: PageFailure,
    defaultNotFoundComponent: NotFoundPage,
    scrollRestoration: true,
    parseSearch: text => Object.fromEntries(new URLSearchParams(text)),
    stringifySearch: search => {
      const present = Object.entries(search as Record<string, string | undefined>).filter(
        ([, value]) => value !== undefined,
      );
      const text = new URLSearchParams(present as [string, string][]).toString();
      return text === '' ? '' : `?${text}`;
    },
  });

declare module '@tanstack/react-router' {
  // Declaration merging is how the router learns the types of these routes, and needs an interface.
  interface Register {
    router: ReturnType<typeof createDashboardRouter>;
  }
}
