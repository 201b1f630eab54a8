import type { Server } from '@opsfleet/sdk';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { api } from '../api.ts';
import { ErrorPanel } from '../components/ErrorPanel.tsx';
import { Button } from '../ui/Button.tsx';
import { Dialog } from '../ui/Dialog.tsx';

type Props = { server: Server; onClose(): void };

/** Deletes a server, after its name was typed: there is no way back. */
export function DeleteServer({ server, onClose }: Props) {
  const [typed, setTyped] = useState('');
  const queries = useQueryClient();
  const navigate = useNavigate();
  const remove = useMutation({
    mutationFn: () => api.DELETE('/api/v1/fleet/servers/{id}', { params: { path: { id: server.id } } }),
    async onSuccess() {
      await navigate({ to: '/servers' });
      queries.removeQueries({ queryKey: ['server', server.id] });
      await queries.invalidateQueries();
    },
  });
  const isConfirmed = typed.trim() === server.name;
  const unavailable = remove.isPending
    ? 'Deleting'
    : isConfirmed
      ? undefined
      : 'Type the name of the server first';
  return (
    <Dialog title={`Delete ${server.name}?`} onClose={onClose}>
      <form
        className="grid gap-4"
        onSubmit={event => {
          event.preventDefault();
          if (unavailable === undefined) remove.mutate();
        }}
      >
        <p className="wrap-anywhere">
          This deletes <strong>{server.name}</strong>
          {server.environment === null ? '' : ` (${server.environment})`} with its whole history of checks and
          metrics. It cannot be undone. The machine itself is not touched.
        </p>
        {remove.isError ? <ErrorPanel what="It was not deleted." error={remove.error} /> : null}
        <label className="grid gap-1 font-medium">
          Type its name to confirm
          <input
            className="input"
            value={typed}
            autoComplete="off"
            spellCheck={false}
            placeholder={server.name}
            onChange={event => setTyped(event.target.value)}
          />
        </label>
        <div className="flex flex-wrap justify-end gap-2">
          <Button onClick={onClose}>Keep it</Button>
          <Button look="danger" type="submit" unavailable={unavailable}>
            Delete the server
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
