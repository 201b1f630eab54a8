import { ApiError } from '@opsfleet/sdk';
import { useState } from 'react';
import { Button } from '../ui/Button.tsx';

type Props = { what: string; error: unknown; onRetry?: (() => void) | undefined; stillShown?: string };

/** Says what failed, what still stands, and what to quote; offers another try. */
export function ErrorPanel({ what, error, onRetry, stillShown }: Props) {
  const problem = error instanceof ApiError ? error.problem : null;
  return (
    <div role="alert" className="card flex flex-wrap items-start justify-between gap-3 border-critical p-4">
      <div className="min-w-0">
        <p className="font-semibold">{what}</p>
        <p className="text-muted wrap-anywhere">{describe(error)}</p>
        {stillShown === undefined ? null : <p className="text-muted">{stillShown}</p>}
        {problem === null ? null : <RequestId id={problem.instance.replace('urn:uuid:', '')} />}
      </div>
      {onRetry === undefined ? null : <Button onClick={onRetry}>Try again</Button>}
    </div>
  );
}

function describe(error: unknown): string {
  if (error instanceof ApiError) return error.message;
  return 'Something unexpected happened in this page.';
}

function RequestId({ id }: { id: string }) {
  const [isCopied, setIsCopied] = useState(false);
  return (
    <p className="mt-1 flex flex-wrap items-center gap-2 text-xs text-muted">
      <span>
        Request <code className="wrap-anywhere">{id}</code>
      </span>
      <button
        type="button"
        className="link min-h-6"
        onClick={() => {
          void navigator.clipboard.writeText(id).then(() => setIsCopied(true));
        }}
      >
        {isCopied ? 'Copied' : 'Copy'}
      </button>
    </p>
  );
}
