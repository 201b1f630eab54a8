import { describe, expect, test } from 'vitest';
import { startDashboard } from './dashboard.ts';

const { dashboard, heading, row, signedInByLink, stranger } = startDashboard();

describe('signing in', () => {
  test('by the printed link leads to what was asked for, and leaves no code in the address', async () => {
    const page = await stranger();
    await page.goto('/servers?health=critical');
    await heading(page, 'Sign in').waitFor();
    await page.goto(`${page.url()}#link=${await dashboard().fleet.app.signInLink()}`);
    await row(page, 'api-2').waitFor();
    expect(page.url()).toBe(`${dashboard().fleet.url}/servers?health=critical`);
    await page.goBack();
    expect(page.url()).not.toContain('link=');
  });

  test('by a link that was used says so, and takes a token instead', async () => {
    const page = await stranger();
    const link = await dashboard().fleet.app.signInLink();
    await page.goto(`/sign-in#link=${link}`);
    await heading(page, 'Servers').waitFor();
    const other = await stranger();
    await other.goto(`/sign-in#link=${link}`);
    await other.getByRole('alert').getByText('used already').waitFor();
    await other.getByLabel('API token').fill('flt_wrong');
    await other.getByRole('button', { name: 'Sign in with the token' }).click();
    await other.getByRole('alert').getByText('not valid').waitFor();
    await other.getByLabel('API token').fill(dashboard().fleet.token);
    await other.getByRole('button', { name: 'Sign in with the token' }).click();
    await heading(other, 'Servers').waitFor();
  });

  test('is asked for again when the session has ended, and then the page is back', async () => {
    const page = await signedInByLink(`/servers/${dashboard().ids['api-1']}`);
    await heading(page, 'api-1').waitFor();
    await page.context().clearCookies();
    await page.getByRole('button', { name: 'Check now' }).click();
    await heading(page, 'Sign in').waitFor();
    await page.getByLabel('API token').fill(dashboard().fleet.token);
    await page.keyboard.press('Enter');
    await heading(page, 'api-1').waitFor();
  });

  test('out ends the session', async () => {
    const page = await signedInByLink('/servers');
    await page.getByRole('button', { name: 'Sign out' }).click();
    await heading(page, 'Sign in').waitFor();
    await page.goto('/servers');
    await heading(page, 'Sign in').waitFor();
  });
});

describe('who may not', () => {
  test('change anything sees why, and the buttons do nothing', async () => {
    const viewer = await dashboard().fleet.app.as('viewer');
    const page = await stranger();
    await page.goto(`/sign-in?next=/servers/${dashboard().ids['api-1']}`);
    await page.getByLabel('API token').fill(viewer.token);
    await page.keyboard.press('Enter');
    const edit = page.getByRole('button', { name: 'Edit' });
    expect(await edit.getAttribute('title')).toBe('The role viewer may not do this');
    // Playwright would wait for the button to become enabled; a person just presses it.
    await edit.click({ force: true });
    expect(await page.getByRole('dialog').count()).toBe(0);
    await page.goto('/servers/new');
    await page.getByText('Ask an administrator').waitFor();
  });
});
