import { ApiError, bodyOf } from '@opsfleet/sdk';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useRouter, useSearch } from '@tanstack/react-router';
import { useEffect, useState } from 'react';
import { api } from '../api.ts';
import { Brand } from '../components/Brand.tsx';
import { PageTitle } from '../components/PageTitle.tsx';
import { returnPath } from '../paths.ts';
import { Button } from '../ui/Button.tsx';

type Credential = { link: string } | { token: string };

/** The code of a one-time link. It leaves the address at once, and with it the history and every screenshot. */
function takeLink(): string | null {
  const code = new URLSearchParams(location.hash.slice(1)).get('link');
  if (location.hash !== '') history.replaceState(history.state, '', location.pathname + location.search);
  return code;
}

/** Signs in by the one-time link that the control plane printed, or by an API token. */
export function SignInPage() {
  const { next } = useSearch({ from: '/sign-in' });
  const router = useRouter();
  const queries = useQueryClient();
  const [token, setToken] = useState('');
  const { mutate, isPending, error, variables } = useMutation({
    mutationFn: (credential: Credential) => bodyOf(api.POST('/api/v1/session', { body: credential })),
    async onSuccess() {
      queries.clear();
      // The address may hold a filter, so it is followed as text.
      router.history.replace(returnPath(next));
      await router.load();
    },
  });
  useEffect(() => {
    const follow = (): void => {
      const link = takeLink();
      if (link !== null) mutate({ link });
    };
    follow();
    addEventListener('hashchange', follow);
    return () => removeEventListener('hashchange', follow);
  }, [mutate]);
  const isLink = variables !== undefined && 'link' in variables;
  const isFollowingLink = isPending && isLink;

  return (
    <main className="mx-auto grid min-h-dvh max-w-md content-center gap-4 p-4">
      <p className="brand">
        <Brand />
      </p>
      <div className="card grid gap-4 p-6">
        <PageTitle title="Sign in">Sign in</PageTitle>
        {error === null ? null : <SignInError error={error} isLink={isLink} />}
        {isFollowingLink ? <output>Signing in with your link…</output> : null}
        <form
          className="grid gap-3"
          onSubmit={event => {
            event.preventDefault();
            if (token.trim() !== '') mutate({ token: token.trim() });
          }}
        >
          <label className="grid gap-1 font-medium">
            API token
            <input
              className="input font-mono"
              type="password"
              name="token"
              autoComplete="current-password"
              required
              maxLength={512}
              value={token}
              onChange={event => setToken(event.target.value)}
            />
          </label>
          <Button look="primary" type="submit" unavailable={isPending ? 'Signing in' : undefined}>
            {isPending && !isLink ? 'Signing in…' : 'Sign in with the token'}
          </Button>
        </form>
        <p className="text-sm text-muted">
          The control plane prints a token and a sign-in link where it was started. A link works once and for
          15 minutes; starting it again prints a new one.
        </p>
      </div>
    </main>
  );
}

function SignInError({ error, isLink }: { error: Error; isLink: boolean }) {
  const isRefused = error instanceof ApiError && error.status === 401;
  const advice = !isRefused
    ? 'Is the control plane running? Try again in a moment.'
    : isLink
      ? 'Use an API token below, or start the control plane again for a new link.'
      : 'Check that it was copied whole, and that it was not revoked.';
  return (
    <div role="alert" className="rounded-md border border-critical p-3">
      <p className="font-semibold">{error instanceof ApiError ? error.message : 'Signing in failed.'}</p>
      <p className="text-muted">{advice}</p>
    </div>
  );
}
