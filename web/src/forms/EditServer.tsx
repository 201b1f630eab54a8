import { ApiError, bodyOf, type Server, type ServerUpdate } from '@opsfleet/sdk';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useState } from 'react';
import { api, serverQuery } from '../api.ts';
import { Button } from '../ui/Button.tsx';
import { Dialog } from '../ui/Dialog.tsx';
import { SchemaForm } from './SchemaForm.tsx';
import { changesOf, fieldsOf, type Values, valuesOf } from './schema.ts';
import { serverPurposes } from './server-purposes.ts';
import { serverUpdate } from './server-schemas.ts';

const fields = fieldsOf(serverUpdate);
const purposes = {
  ...serverPurposes,
  api_token: { text: 'Left empty, the stored one stays. An API URL of another host needs the token again.' },
};

type Props = { server: Server; onClose(): void };

/** Changes a server. It does not overwrite what somebody else changed meanwhile: that is shown first. */
export function EditServer({ server: shown, onClose }: Props) {
  // The form is about the server as it was when it was opened, whatever the stream brings.
  const [server, setServer] = useState(shown);
  const initial = valuesOf(fields, server);
  const queries = useQueryClient();
  const save = useMutation({
    mutationFn: async (body: ServerUpdate) =>
      bodyOf(
        api.PATCH('/api/v1/fleet/servers/{id}', {
          params: { path: { id: server.id } },
          headers: { 'if-match': `"${server.revision}"` },
          body,
        }),
      ),
    onSuccess(saved) {
      queries.setQueryData(serverQuery(server.id).queryKey, saved.server);
      void queries.invalidateQueries({ queryKey: ['servers'] });
      void queries.invalidateQueries({ queryKey: ['summary'] });
      onClose();
    },
  });
  const isOvertaken = save.error instanceof ApiError && save.error.status === 412;
  const startAgain = async (): Promise<void> => {
    setServer(await queries.fetchQuery({ ...serverQuery(server.id), staleTime: 0 }));
    save.reset();
  };

  function submit(values: Values): void {
    const changes = changesOf(fields, initial, values);
    if (Object.keys(changes).length === 0) return onClose();
    save.mutate(changes);
  }

  return (
    <Dialog title={`Edit ${server.name}`} onClose={onClose} wide>
      {isOvertaken ? (
        <div role="alert" className="grid gap-3">
          <p>Somebody else changed this server while you were editing. Nothing of yours was saved.</p>
          <div>
            <Button look="primary" onClick={() => void startAgain()}>
              Start again from what is there now
            </Button>
          </div>
        </div>
      ) : (
        <SchemaForm
          fields={fields.map(field => ({ ...field, isRequired: requiredFields.has(field.name) }))}
          purposes={purposes}
          initial={initial}
          submitLabel="Save the changes"
          isSending={save.isPending}
          error={save.error}
          onSubmit={submit}
        />
      )}
    </Dialog>
  );
}

/** An update may leave out anything, but what it started with must not end up empty. */
const requiredFields = new Set(
  fields
    .filter(({ kind, isNullable, name }) => (kind === 'text' && !isNullable) || name === 'status')
    .map(field => field.name),
);
