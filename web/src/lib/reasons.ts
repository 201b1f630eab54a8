const sentences: Readonly<Record<string, string>> = {
  ok: 'Everything it reports is well',
  component_failed: 'A component has failed',
  reported_degraded: 'It says of itself that it is degraded',
  reported_critical: 'It says of itself that it is in a critical state',
  not_checked: 'Not checked yet',
  paused: 'Not checked while it is paused',
  timeout: 'It did not answer in time',
  refused: 'It refused the connection',
  reset: 'It closed the connection early',
  unreachable: 'There is no route to it',
  dns_failed: 'Its name cannot be resolved',
  tls_failed: 'Its certificate or TLS set-up is not accepted',
  auth_failed: 'It did not accept the token',
  not_found: 'It has nothing at the expected address',
  redirect: 'It answered with a redirect, which is not followed',
  bad_payload: 'Its answer is not what the contract says',
  bad_response: 'Its answer is not valid HTTP',
  bad_encoding: 'Its answer is encoded in a way that was not asked for',
  too_large: 'Its answer is larger than the limit',
  policy_denied: 'The egress policy forbids this address',
  local_fault: 'The control plane itself could not check',
  token_unreadable: 'Its stored token cannot be decrypted',
  aborted: 'The check was stopped half-way',
  observer_fault: 'Many servers failed at once, so the fault is taken to be the control plane’s',
  no_result: 'No check of it has come back for three intervals',
};

/** A reason of the API in plain words. One this version does not know is shown as it is named. */
export function explainReason(reason: string): string {
  const known = Object.hasOwn(sentences, reason) ? sentences[reason] : undefined;
  if (known !== undefined) return known;
  const httpStatus = /^http_(\d{3})$/.exec(reason)?.[1];
  if (httpStatus !== undefined) return `It answered with HTTP ${httpStatus}`;
  const words = reason.replaceAll('_', ' ');
  return words.charAt(0).toUpperCase() + words.slice(1);
}
