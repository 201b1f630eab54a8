import { bodyOf, type ServerRegistration } from '@opsfleet/sdk';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { Link, useNavigate } from '@tanstack/react-router';
import { api, serverQuery } from '../api.ts';
import { PageTitle } from '../components/PageTitle.tsx';
import { useRefusal } from '../components/session.ts';
import { SchemaForm } from '../forms/SchemaForm.tsx';
import { fieldsOf, requestBodyOf } from '../forms/schema.ts';
import { serverPurposes } from '../forms/server-purposes.ts';
import { serverRegistration } from '../forms/server-schemas.ts';

const fields = fieldsOf(serverRegistration);

/** Registers a server. Afterwards its own page waits for the first check. */
export function NewServerPage() {
  const refusal = useRefusal('servers:write');
  const navigate = useNavigate();
  const queries = useQueryClient();
  const register = useMutation({
    mutationFn: (body: ServerRegistration) => bodyOf(api.POST('/api/v1/fleet/servers', { body })),
    async onSuccess({ server }) {
      queries.setQueryData(serverQuery(server.id).queryKey, server);
      void queries.invalidateQueries({ queryKey: ['servers'] });
      void queries.invalidateQueries({ queryKey: ['summary'] });
      await navigate({ to: '/servers/$id', params: { id: server.id } });
    },
  });
  return (
    <div className="mx-auto grid max-w-2xl gap-4">
      <nav aria-label="Breadcrumb">
        <Link to="/servers" className="link inline-flex min-h-6 items-center">
          Servers
        </Link>
      </nav>
      <PageTitle title="Register a server">Register a server</PageTitle>
      {refusal === undefined ? (
        <div className="card p-5">
          <SchemaForm
            fields={fields}
            purposes={serverPurposes}
            initial={{}}
            submitLabel="Register the server"
            isSending={register.isPending}
            error={register.error}
            // The values were checked against the schema this type was generated from.
            onSubmit={values => register.mutate(requestBodyOf(fields, values) as ServerRegistration)}
          >
            <p className="text-sm text-muted">
              Its first check follows within two seconds; you see it arrive on the next page.
            </p>
          </SchemaForm>
        </div>
      ) : (
        <p className="card p-5">{refusal}. Ask an administrator of your organization.</p>
      )}
    </div>
  );
}
