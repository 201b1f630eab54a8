import { QueryClientProvider } from '@tanstack/react-query';
import { RouterProvider } from '@tanstack/react-router';
import { StrictMode } from 'react';
import { createRoot } from 'react-dom/client';
import { createQueryClient } from './api.ts';
import { createLive, LiveContext } from './live.ts';
import { createDashboardRouter } from './routes.tsx';

function signedOut(): void {
  const { pathname, search } = location;
  if (pathname === '/sign-in') return;
  queries.clear();
  void router.navigate({ to: '/sign-in', search: { next: pathname + search }, replace: true });
}

const queries = createQueryClient(signedOut);
const live = createLive(queries, signedOut);
const router = createDashboardRouter(queries);

// Until the first page can be drawn the document's own frame stays; an empty one in between would flicker.
await router.load();

createRoot(document.getElementById('root')!).render(
  <StrictMode>
    <QueryClientProvider client={queries}>
      <LiveContext value={live}>
        <RouterProvider router={router} />
      </LiveContext>
    </QueryClientProvider>
  </StrictMode>,
);
