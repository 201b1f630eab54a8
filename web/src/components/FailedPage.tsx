import { useRouter } from '@tanstack/react-router';
import { ErrorPanel } from './ErrorPanel.tsx';
import { PageTitle } from './PageTitle.tsx';

/** For a page that cannot be shown, inside the frame. */
export function PageFailure({ error }: { error: unknown }) {
  const router = useRouter();
  return (
    <div className="mx-auto grid max-w-xl gap-4 p-4">
      <PageTitle title="Not available">This page is not available</PageTitle>
      <ErrorPanel what="It could not be loaded." error={error} onRetry={() => void router.invalidate()} />
    </div>
  );
}

/** The same where there is no frame, because not even who is signed in is known. */
export const FailedPage = ({ error }: { error: unknown }) => (
  <main>
    <PageFailure error={error} />
  </main>
);
