import { describe, expect, test } from 'vitest';
import { sql } from '../../server/src/platform/db.ts';
import { startManagedServer } from '../../server/test/fakes/managed-server.ts';
import { accessibilityFaults } from './browser.ts';
import { startDashboard } from './dashboard.ts';
import { startFleet } from './fleet.ts';

const { heading, stranger } = startDashboard();

describe('a fleet of its own', () => {
  test('from nothing to the first server: registered by the form, checked, live', async () => {
    const managed = await startManagedServer();
    const polling = await startFleet({
      settings: { role: 'all', healthIntervalMs: 1_000, metricsIntervalMs: 1_000 },
    });
    try {
      const page = await stranger({ url: polling.url });
      await page.goto(`/sign-in#link=${await polling.app.signInLink()}`);
      await page.getByRole('heading', { name: 'Register your first server' }).waitFor();
      expect(await accessibilityFaults(page)).toEqual([]);
      await page.getByRole('link', { name: 'Register it here' }).click();

      await page.getByLabel('Name', { exact: true }).fill('real-1');
      await page.getByLabel('Hostname').fill('real-1');
      await page.getByLabel('API URL').fill('ftp://real-1');
      await page.getByLabel('API token').fill('the-token');
      await page.getByLabel('Tags').fill('one, two');
      await page.getByRole('button', { name: 'Register the server' }).click();
      // The API alone knows this, and its answer stands at the field.
      await page.getByText(/^API URL must/).waitFor();
      expect(await page.getByLabel('API URL').getAttribute('aria-invalid')).toBe('true');
      await page.getByLabel('API URL').fill(managed.url);
      await page.getByRole('button', { name: 'Register the server' }).click();

      await heading(page, 'real-1').waitFor();
      await page.getByText('Everything it reports is well').waitFor();
      await page.getByRole('figure').first().waitFor();
      expect(managed.requests.every(request => request.token === 'the-token')).toBe(true);
      expect(await page.content()).not.toContain('the-token');
      await page.getByRole('button', { name: 'Check now' }).click();
      await page.getByText(/The check found it healthy/).waitFor();

      managed.answer('health', { database: { status: 'down', message: 'disk full' } });
      await page.getByText('A component has failed: database: disk full').waitFor();
    } finally {
      await polling.app.close();
      await managed.stop();
    }
  });

  test('of thousands keeps few rows in the document, counts all, and reads on as one scrolls', async () => {
    const large = await startFleet();
    try {
      await large.app.database.db.system.execute(sql`
        insert into managed_servers (organization_id, id, name, hostname, api_url, api_token_hash, adapter, slot, health_since, created_at, updated_at)
        select o.id, gen_random_uuid(), 'node-' || lpad(n::text, 4, '0'), 'h', 'https://node-' || n || '.example', '', 'ops-center', 0, now(), now(), now()
        from organizations o, generate_series(1, 3000) n where o.name = 'default'`);
      const page = await stranger({ url: large.url });
      await page.goto(`/sign-in#link=${await large.app.signInLink()}`);
      await page.getByText('3,000 servers').waitFor();
      expect(await page.getByRole('table').getAttribute('aria-rowcount')).toBe('3001');
      const rows = page.locator('tr[data-server]');
      expect(await rows.count()).toBeLessThan(40);
      for (let pages = 0; pages < 4; pages += 1) {
        const before = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.evaluate(() => window.scrollTo(0, document.documentElement.scrollHeight));
        await page.waitForFunction(height => document.documentElement.scrollHeight > height, before);
      }
      await page.getByRole('link', { name: 'node-0400' }).waitFor();
      expect(await rows.count()).toBeLessThan(40);
      const first = rows.first();
      const name = await first.getByRole('link').innerText();
      expect(Number(await first.getAttribute('aria-rowindex'))).toBe(Number(name.slice(5)) + 1);
      expect(await page.evaluate(() => document.querySelectorAll('*').length)).toBeLessThan(1_500);
    } finally {
      await large.app.close();
    }
  });
});
