// The login page of an application. Each thing it does is one request to picoauth, or two;
// what went wrong is said in words. There is nothing to build: this file is what runs.

const $ = (selector, within = document) => within.querySelector(selector);
const $$ = (selector, within = document) => [...within.querySelectorAll(selector)];
const lang = document.documentElement.lang;
const passkeys = Boolean(window.PublicKeyCredential?.parseRequestOptionsFromJSON);

// ---- What went wrong, in words: by the `code` of a problem, or by what the browser says.

const signedOut = ["session_ended", "token_missing", "invalid_token", "token_expired"];
const over = " Please sign in again.";
const span = (seconds) => {
  const [number, unit] = seconds < 90 ? [seconds, "second"] : [Math.ceil(seconds / 60), "minute"];
  return new Intl.NumberFormat(lang, { style: "unit", unit, unitDisplay: "long" }).format(number);
};
const later = ({ wait }) => (wait ? `in ${span(wait)}` : "a little later");
const elsewhere = "This page is not at the address that the server expects. Open it at the address of the site.";
const byMail = (path) => /email|forgot/.test(path);
const words = new Map(Object.entries({
  offline: "The server cannot be reached. Check your connection, then try again.",
  invalid_credentials: "This user name and this password do not belong together. Check both, and try again.",
  more_needed: "One more proof is needed.",
  flow_ended: `That took too long, or was used already.${over}`,
  start_over: `Your account was changed in the meantime.${over}`,
  refused: "The server refuses this. Ask whoever runs it.",
  too_many_attempts: (problem) => `There were too many failed attempts. Try again ${later(problem)}.`,
  unavailable: (problem) => `The server is busy. Nothing was changed; try again ${later(problem)}.`,
  ...Object.fromEntries(signedOut.map((code) => [code, `You are signed out.${over}`])),
  cross_site: elsewhere,
  invalid_username: "This cannot be a user name. Letters, digits, dots and dashes are fine.",
  username_taken: "Somebody has this user name. Choose another one.",
  password_too_short: ({ least }) => `This password is too short: it needs at least ${least} characters.`,
  password_too_long: ({ most }) => `This password is too long: ${most} characters are the most.`,
  wrong_code: ({ path }) => (byMail(path) ? "This code is not right, or too old. Type the one of the newest mail." : "This code is not right. Type the one that the app shows now."),
  invalid_email: "This is no email address that mail can be sent to.",
  email_verified: "This address is verified already.",
  link_expired: "This link is too old. Ask for another one.",
  no_second_factor: "Recovery codes need a passkey or an authenticator app first.",
  too_many_authenticators: "You have as many apps as you may. Remove one first.",
  too_many_passkeys: "You have as many passkeys as you may. Remove one first.",
  passkey_taken: "This passkey is registered already.",
  passkey_refused: ({ check }) => (check === "origin" ? elsewhere : "This passkey was not accepted. Try again, or use another device."),
  profile_unusable: ({ detail }) => `This cannot sign you in: ${detail}.`,
  permission_required: "You may not use this application. Ask whoever looks after it.",
  identifier_taken: "This is linked to an account already: to yours, or to somebody else's.",
  too_many_links: "You have as many domains as you may. Remove one first.",
  last_factor: "This is your last way to sign in. Add another one first.",
  not_found: ({ path }) => (byMail(path) ? "This link is good no more: it was used, or there is a newer one." : "It is gone already."),
  conflict: "Something else was faster, and nothing was changed. Look again, and try again.",
  internal_error: ({ request_id }) => `The server made a mistake. If it happens again, report it as ${request_id}.`,
}));
const refusals = ["proof_refused", "invalid_credentials"]; // each with words of its factor
const proofWords = {
  totp: "This code is not right, or was used already. Type the one that the app shows now.",
  recovery: "This is none of your recovery codes, or it was used already.",
  passkey: ({ check }) => (check === "origin" ? elsewhere : "This passkey is not accepted: it may have been removed from your account. Use another one, or sign in another way."),
  password: "This password is not right.",
  indieauth: "Nobody confirmed that it is you, or there is no account for it here.",
  "magic-link": "This code or link is not right, was used already, or is too old.",
};
const browserWords = {
  NotAllowedError: "No passkey was used: it was cancelled, or took too long. You can try again.",
  InvalidStateError: "This device has a passkey for your account already.",
  SecurityError: elsewhere,
  NotSupportedError: "This device cannot make such a passkey. Try another one.",
};
const fields = {
  invalid_username: "username", username_taken: "username", password_too_short: "password",
  password_too_long: "password", invalid_credentials: "password", wrong_code: "code",
  proof_refused: "code", invalid_email: "email", email_verified: "email",
};

class Refusal extends Error {
  constructor(problem) {
    super();
    this.problem = problem;
    this.code = problem.code;
  }

  get message() {
    const { factor, title, detail, status } = this.problem;
    const known = (refusals.includes(this.code) && proofWords[factor]) || words.get(this.code);
    if (known) return typeof known === "function" ? known(this.problem) : known;
    return [title, detail].filter(Boolean).join(" ") || `The server gave no usable answer (${status}).`;
  }
}

/** Shows an error where `element` is: under the heading of its card, or in its dialog. */
function complain(error, element) {
  if (error.name === "AbortError") return; // somebody closed a dialog: they know
  const near = element.closest(".proof, section, dialog");
  const problem = $(".problem", near.checkVisibility() ? near : $("main > section:not([hidden])"));
  problem.textContent = browserWords[error.name] ?? error.message;
  problem.scrollIntoView({ block: "nearest" });
  const field = $(`[name="${fields[error.code]}"]`, element);
  field?.setAttribute("aria-invalid", "true");
  ($(".code", element) ?? field)?.select();
  if (!(error instanceof Refusal || error instanceof DOMException)) throw error;
}

function clear() {
  announce("");
  for (const problem of $$(".problem")) problem.textContent = "";
  for (const field of $$("[aria-invalid]")) field.removeAttribute("aria-invalid");
}

let fading;
function announce(text) {
  clearTimeout(fading);
  $("#status").textContent = text;
  fading = setTimeout(() => announce(""), 8000);
}

// ---- The server

/** Answers the JSON of a route; raises Refusal. */
async function call(method, path, body) {
  let answer;
  try {
    const headers = body && { "Content-Type": "application/json" };
    const signal = AbortSignal.timeout(20_000);
    answer = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal });
  } catch {
    throw new Refusal({ code: "offline" });
  }
  const json = await answer.json().catch(() => ({}));
  tellBrowser(json.signals);
  if (answer.ok) return json;
  const wait = Number(answer.headers.get("Retry-After"));
  throw new Refusal({ ...json, status: answer.status, wait, path, factor: body?.factor });
}

/** The same for what wants a fresh proof: asks for it in place, then goes on. */
async function fresh(method, path, body) {
  try {
    return await call(method, path, body);
  } catch (refusal) {
    if (refusal.code !== "stepup_needed") throw refusal;
    await stepUp();
    return call(method, path, body);
  }
}

/** Tells the browser which passkeys are still good (WebAuthn Level 3, section 5.1.10). */
function tellBrowser({ unknownCredential, allAcceptedCredentials, currentUserDetails } = {}) {
  const tell = (name, details) => details && window.PublicKeyCredential?.[name]?.(details).catch(() => {});
  tell("signalUnknownCredential", unknownCredential);
  tell("signalAllAcceptedCredentials", allAcceptedCredentials);
  tell("signalCurrentUserDetails", currentUserDetails);
}

/** Whether a login can begin so: a factor without routes is in no description. */
const known = (factor) =>
  call("POST", "/auth/login/begin", { factor }).then(() => true, ({ code }) => code === "invalid_body");

/** Shows only what this server offers, by its description, and what this browser can do. */
async function adapt() {
  const description = await call("GET", "/openapi.json").catch(() => null);
  const has = (path) => !description?.paths || path in description.paths;
  const ways = { domains: false, endpoints: [] };
  if (has("/auth/indieauth/ways")) Object.assign(ways, await call("GET", "/auth/indieauth/ways").catch(() => ({})));
  const offers = {
    password: has("/auth/password"),
    totp: has("/auth/totp"),
    recovery: has("/auth/recovery"),
    passkey: passkeys && has("/auth/passkey"),
    email: has("/auth/email"),
    reset: has("/auth/forgot_password"),
    magicLink: await known("magic-link"),
    domain: ways.domains,
    endpoints: ways.endpoints.length > 0,
    registerByPassword: has("/auth/register"),
    registerByPasskey: passkeys && has("/auth/passkey/register"),
  };
  offers.register = offers.registerByPassword || offers.registerByPasskey;
  offers.otherWays = offers.passkey || offers.magicLink || offers.domain || offers.endpoints;
  $("#endpoints").replaceChildren(...ways.endpoints.map((name) => leading(`Sign in with ${name}`, () => signInElsewhere({ endpoint: name }))));
  $("#add-endpoints").replaceChildren(...ways.endpoints.map((name) => leading(`Add ${name}`, () => addElsewhere({ endpoint: name }))));
  if (offers.email) $("#name-of-user").textContent = "User name or email address";
  for (const element of $$("[data-if]")) element.hidden = !offers[element.dataset.if];
  return offers;
}

/** A button for an endpoint that the settings name. */
function leading(text, action) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = () => act(action, button);
  return button;
}

// ---- Views: the sections of the page, of which one is shown

const opened = ["create", "forgot", "domain"]; // by a link

function show(id) {
  stopAutofill();
  clear();
  forget();
  for (const view of $$("main > section")) {
    view.hidden = view.id !== id;
    if (view.hidden) for (const field of $$("[name=password]", view)) field.value = "";
  }
  const address = location.pathname + location.search;
  history.replaceState(null, "", opened.includes(id) ? `#${id}` : address);
  const heading = $(`#${id} h1`);
  document.title = heading.textContent;
  heading.focus();
  scrollTo(0, 0);
}

/** Leaves nothing in the page that is shown only once. */
function forget() {
  $("#codes").replaceChildren();
  $("#secret").textContent = "";
  for (const [id, attribute] of [["qr", "src"], ["otpauth", "href"], ["download", "href"]]) {
    $(`#${id}`).removeAttribute(attribute);
  }
}

/** The view for whoever is not signed in, with a reason if there is one. */
function signedOutView(error) {
  const offered = { "#create": offers.register, "#forgot": offers.reset, "#domain": offers.domain };
  const other = !error && offered[location.hash] && location.hash.slice(1);
  show(other || "sign-in");
  if (error) complain(error, $("#sign-in form"));
  if (!other) autofill();
}

/** Where the application wants its user back. Only this origin: a link must not lead away. */
function onward() {
  const query = new URLSearchParams(location.search);
  // picoauth looks at the address of a protected host itself: the query goes on, unread.
  if (query.has("to")) return `/forward-auth/hop${location.search}`;
  const path = query.get("return") ?? "";
  if (!path.startsWith("/") || !URL.canParse(path, location.origin)) return null;
  const url = new URL(path, location.origin);
  return url.origin === location.origin ? url.href : null; // not the path: `/.//evil.example`
}

// ---- Signing in

async function signIn(body) {
  const remember = $("#sign-in form").remember.checked;
  try {
    await call("POST", "/auth/login", { ...body, session: "cookie", remember });
  } catch (refusal) {
    if (refusal.code === "email_unverified") return unverified(refusal.problem, body);
    if (refusal.code !== "more_needed") throw refusal;
    show("second-step");
    try {
      await prove($("#second-step .proof"), "/auth/login", refusal.problem);
    } catch (over) {
      return over.code === "email_unverified" ? unverified(over.problem, body) : signedOutView(over);
    }
  }
  if (mailed.purpose === "verify-email") return verifyByLink();
  const next = onward();
  if (next) return location.replace(next);
  return account();
}

/** What the browser's passkeys sign; `mediation` and `signal` are those of autofill. */
async function assertion(challenge, more = {}) {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(challenge);
  return (await navigator.credentials.get({ publicKey, ...more })).toJSON();
}

async function signInByPasskey(body) {
  stopAutofill(); // a browser asks for one passkey at a time
  try {
    const begun = await call("POST", "/auth/login/begin", { factor: "passkey", ...body });
    await signIn({ factor: "passkey", flow: begun.flow, passkey: await assertion(begun.challenge) });
  } catch (error) {
    autofill();
    throw error;
  }
}

let autofilling;
const renewal = 4 * 60_000; // a flow lasts five minutes, and who fills in a form may take longer

/** Lets the browser offer passkeys where it offers user names, for as long as the form is shown. */
async function autofill() {
  stopAutofill();
  const mine = (autofilling = new AbortController()).signal;
  if (!offers.passkey || !(await PublicKeyCredential.isConditionalMediationAvailable?.())) return;
  try {
    const { flow, challenge } = await call("POST", "/auth/login/begin", { factor: "passkey" });
    if (mine.aborted) return;
    const timer = setTimeout(autofill, renewal);
    mine.addEventListener("abort", () => clearTimeout(timer));
    const passkey = await assertion(challenge, { mediation: "conditional", signal: mine });
    await act(() => signIn({ factor: "passkey", flow, passkey }), $("#sign-in form"));
    if (!$("#sign-in").hidden) await autofill();
  } catch (error) {
    // Nobody asked for anything: without this the form is as good.
    if (!(error instanceof Refusal || error instanceof DOMException)) throw error;
  }
}

function stopAutofill() {
  autofilling?.abort();
}

/**
 * Asks in `place` for one proof after the other until the server has enough; gives its answer.
 * Each refusal has a new flow. One of a login without a flow means to start over: that is raised.
 */
function prove(place, route, { flow, next, username = "" }) {
  place.replaceChildren($("#proof").content.cloneNode(true));
  const forms = $$("form", place);
  const known = () => forms.map((form) => form.dataset.factor)
    .filter((factor) => next.includes(factor) && (factor !== "passkey" || passkeys));
  const use = (factor) => {
    for (const form of forms) form.hidden = form.dataset.factor !== factor;
    for (const other of $$("[data-use]", place)) {
      other.hidden = other.dataset.use === factor || !known().includes(other.dataset.use);
      other.onclick = () => { clear(); use(other.dataset.use); };
    }
    $("form:not([hidden]) :is(input:not([hidden]), button)", place)?.focus();
    const title = String(next) === "indieauth"
      ? "Sign out, and in again: for five minutes that is proof enough."
      : `This page cannot ask for what is needed: ${next}.`;
    if (!factor) complain(new Refusal({ title }), place);
  };
  const answer = async (factor, form) => {
    if (factor !== "passkey") return { factor, flow, [factor]: form[factor].value.trim() };
    const begun = await call("POST", `${route}/begin`, { factor, flow });
    flow = begun.flow;
    return { factor, flow, passkey: await assertion(begun.challenge) };
  };
  return new Promise((resolve, reject) => {
    const attempt = async (form) => {
      try {
        resolve(await call("POST", route, await answer(form.dataset.factor, form)));
      } catch (error) {
        if (!(error instanceof Refusal) || error.code === "offline") throw error;
        ({ flow } = error.problem);
        if (error.code === "more_needed") {
          ({ next } = error.problem);
          use(known()[0]);
        } else if (signedOut.includes(error.code) || (!flow && route === "/auth/login")) reject(error);
        else throw error;
      }
    };
    for (const form of forms) {
      form.onsubmit = (event) => {
        event.preventDefault();
        act(() => attempt(form), form);
      };
      if (form.username) form.username.value = username;
    }
    place.abandon = () => reject(new DOMException("", "AbortError"));
    use(known()[0]);
  });
}

/** A fresh proof, of a second factor where there is one, in a dialog over what needed it. */
async function stepUp() {
  const [{ factors }, recovery] = await Promise.all([
    call("GET", "/auth/factors"),
    offers.recovery ? call("GET", "/auth/recovery") : { left: 0 },
  ]);
  const enrolled = factors.filter((each) => each.confirmed).map((each) => each.factor);
  const second = enrolled.filter((factor) => seconds.includes(factor));
  if (second.length && recovery.left) second.push("recovery");
  const dialog = $("#step-up");
  const place = $(".proof", dialog);
  dialog.onclose = () => place.abandon();
  dialog.showModal();
  try {
    const next = second.length ? second : enrolled;
    return await prove(place, "/auth/stepup", { next, username: me.username ?? "" });
  } finally {
    dialog.close();
    place.replaceChildren();
  }
}

// ---- Mails, and what their links open

let mailed = {}; // the newest link that was opened: its purpose, its token
let waiting = {}; // a login that waits for a code, or for an address

const linked = {
  "magic-link": () => show("by-link"),
  "cancel-email": () => show("take-back"),
  "verify-email": verifyByLink,
  indieauth: comeBack,
  async reset() {
    try {
      await call("GET", `/auth/forgot_password/${encodeURIComponent(mailed.token)}`);
      show("new-password");
    } catch (refusal) {
      show("forgot");
      complain(refusal, $("#forgot form"));
    }
  },
};

/** Opens the link of a mail, if the page was opened by one; its token leaves the address. */
async function openLink() {
  const [purpose, token] = location.hash.slice(1).split("=");
  if (!token || !Object.hasOwn(linked, purpose)) return false;
  mailed = { purpose, token };
  return (await linked[purpose]()) !== false;
}

/** Verifies by a link, which wants a session: without one the login comes first. */
async function verifyByLink() {
  const { token } = mailed;
  try {
    await call("POST", "/auth/email/verify", { token });
  } catch (refusal) {
    if (signedOut.includes(refusal.code)) {
      signedOutView();
      return announce("Sign in, and your email address is verified.");
    }
    mailed = {};
    await account();
    return complain(refusal, $("#address-code"));
  }
  mailed = {};
  await account();
  announce("Your email address is verified.");
}

/** What a login is told that lacks but a verified address: by the link that is here, or a code. */
async function unverified({ ticket, address }, body) {
  waiting = { ticket, body };
  if (mailed.purpose === "verify-email") {
    const { token } = mailed;
    mailed = {};
    const done = await call("POST", "/auth/email/unverified/verify", { ticket, token }).catch(() => null);
    if (done) return verified();
  }
  show("verify");
  mailedTo(address);
}

function mailedTo(address) {
  $("#verify-code").hidden = !address;
  $("#verify .or").hidden = !address;
  $("#verify-text").textContent = address
    ? `This account needs it before you can sign in. There is a mail for ${address}, with a code.`
    : "This account needs one before you can sign in.";
  $("#verify form:not([hidden]) input").focus();
}

/** The login that waited goes on; where its proof was good once, it begins again. */
async function verified() {
  const { body } = waiting;
  if (body.password) return signIn(body);
  signedOutView();
  announce("Your email address is verified: sign in now.");
}

// ---- Elsewhere: at the endpoint of a domain, or at one that the settings name

/** Leaves for there, and keeps where no other page gets at it what goes on here afterwards. */
function leave(url, kept) {
  sessionStorage.setItem("elsewhere", JSON.stringify({ ...kept, search: location.search }));
  location.assign(url);
}

async function signInElsewhere(where) {
  const { flow, challenge } = await call("POST", "/auth/login/begin", { factor: "indieauth", ...where });
  leave(challenge.url, { flow, remember: $("#sign-in form").remember.checked });
}

async function addElsewhere(where) {
  const { ticket, url } = await fresh("POST", "/auth/indieauth/begin", where);
  leave(url, { ticket });
}

/** Goes on with what the browser brought. What this tab did not begin is thrown away. */
async function comeBack() {
  const { token } = mailed;
  const kept = JSON.parse(sessionStorage.getItem("elsewhere"));
  sessionStorage.removeItem("elsewhere");
  mailed = {};
  history.replaceState(null, "", location.pathname + (kept?.search ?? location.search));
  if (!kept) return false;
  const { ticket, flow, remember } = kept;
  const indieauth = decodeURIComponent(token);
  if (ticket) return addBrought({ ticket, indieauth });
  $("#sign-in form").remember.checked = remember;
  return signIn({ factor: "indieauth", flow, indieauth }).catch(signedOutView);
}

async function addBrought(body) {
  await account();
  try {
    await fresh("POST", "/auth/indieauth", body);
    await reload("#ways", "It is added.");
  } catch (error) {
    complain(error, $("#ways"));
  }
}

const digits = (form) => form.code.value.replace(/[ -]/g, "");

function lookIntoMail(code) {
  show("mailed");
  $("#mail-code").hidden = !code;
  $("#mail-code").reset();
  if (code) $("#mail-code").code.focus();
}

// ---- The account

let me = {};
const seconds = ["passkey", "totp"]; // of what this page knows, the second factors
const names = { password: "Password", passkey: "Passkey", totp: "Authenticator app", indieauth: "Domain" };

async function account() {
  await load();
  show("account");
}

async function load() {
  if (offers.passkey) call("GET", "/auth/passkey/signals").then(tellBrowser, () => {});
  const [who, { factors }, { sessions }, recovery] = await Promise.all([
    call("GET", "/auth/me"),
    call("GET", "/auth/factors"),
    call("GET", "/auth/sessions"),
    offers.recovery ? call("GET", "/auth/recovery") : null,
  ]);
  me = who;
  $("#who").textContent = `Signed in as ${me.username ?? me.name}`;
  for (const field of $$("#account [name=username]")) field.value = me.username ?? "";
  const next = onward();
  $("#onward").hidden = !next;
  if (next) $("#onward").href = next;
  showAddress(me.identifiers.filter(({ kind }) => kind === "email"));
  const listed = factors.filter((each) => each.confirmed && each.factor !== "recovery");
  const hasPassword = listed.some((each) => each.factor === "password");
  $("#change-password").textContent = hasPassword ? "Change password" : "Set a password";
  const second = listed.some((each) => seconds.includes(each.factor));
  const kinds = Object.keys(names);
  listed.sort((a, b) => kinds.indexOf(a.factor) - kinds.indexOf(b.factor));
  $("#factors").replaceChildren(...listed.map(factorRow));
  $("#sessions").replaceChildren(...sessions.map(sessionRow));
  $("#end-others").hidden = sessions.length < 2;
  $("#new-codes").hidden = !second;
  $("#left").textContent = second
    ? `${recovery?.made_at ? `${recovery.left} left, made ${day(recovery.made_at)}.` : "You have none yet."} Each lets you in once, should you lose your other ways.`
    : "You get some with your first passkey or authenticator app. Each lets you in once, should you lose that.";
}

function showAddress(found) {
  const old = found.find(({ verified }) => verified)?.value;
  const next = found.find(({ verified }) => !verified)?.value;
  const has = old ? `${old} is your address.` : "You have no verified address yet.";
  $("#address").textContent = next ? `${has} There is a mail for ${next}, to verify it.` : has;
  $("#address-code").hidden = !next;
}

/** “today”, “3 days ago”, and a date for what is longer ago. */
function day(seconds) {
  const then = new Date(seconds * 1000);
  const days = Math.round((new Date().setHours(0, 0, 0, 0) - new Date(then).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days < 0 || days > 6) return `on ${new Intl.DateTimeFormat(lang, { dateStyle: "long" }).format(then)}`;
  return new Intl.RelativeTimeFormat(lang, { numeric: "auto" }).format(-days, "day");
}

/** A row of a list: `title`, `facts`, and what its buttons do, in the order of the template. */
function row(kind, title, facts, ...actions) {
  const made = $(`#${kind}`).content.cloneNode(true);
  $("strong", made).textContent = title;
  $("span", made).textContent = facts.filter(Boolean).join(" · ");
  for (const [index, button] of $$("button", made).entries()) {
    button.hidden = !actions[index];
    button.setAttribute("aria-label", `${button.textContent}: ${title}`);
    button.onclick = () => act(actions[index], button);
  }
  return made;
}

function factorRow({ id, factor, label, confirmed_at, last_used_at }) {
  const kind = names[factor] ?? factor;
  const title = label ?? kind;
  const path = `/auth/factors/${id}`;
  const used = last_used_at ? `last used ${day(last_used_at)}` : "not used yet";
  const rename = async () => {
    const name = await ask({ title: `Rename “${title}”`, field: "Name", value: label ?? "", yes: "Rename" });
    await call("PATCH", path, { label: name });
    await reload("#ways", "Renamed.");
  };
  const remove = async () => {
    await ask({ title: `Remove “${title}”?`, text: "You can then no longer sign in with it.", yes: "Remove" });
    await fresh("DELETE", path);
    await reload("#ways", `Removed: ${title}.`);
  };
  const facts = [title !== kind && kind, `added ${day(confirmed_at)}`, used];
  return row("factor", title, facts, factor !== "password" && rename, remove);
}

function sessionRow({ id, current, device, address, used_at }) {
  const title = device ?? "Unknown device";
  const end = async () => {
    await fresh("DELETE", `/auth/sessions/${id}`);
    await reload("#devices", `Signed out: ${title}.`);
  };
  const facts = [current ? "this device" : `last used ${day(used_at)}`, address];
  return row("session", title, facts, !current && end);
}

/** Brings the lists up to date, and the keyboard to the heading of the one that changed. */
async function reload(heading, text) {
  await load();
  clear();
  $(heading).focus();
  announce(text);
}

/** Asks for a name (`field`), or for a yes; gives what was typed. */
function ask({ title, text = "", field, value = "", most = 64, yes }) {
  const dialog = $("#question");
  const form = $("form", dialog);
  $("#question-title").textContent = title;
  $("#question-text").textContent = text;
  $("#question-field").hidden = !field;
  $("#question-field span").textContent = field ?? "";
  form.answer.maxLength = most;
  form.answer.value = value;
  form.answer.required = Boolean(field);
  $(".main", form).textContent = yes;
  dialog.returnValue = "";
  dialog.showModal();
  (field ? form.answer : $("#question-title")).focus();
  return new Promise((resolve, reject) => {
    dialog.onclose = () => {
      if (dialog.returnValue === "yes") resolve(form.answer.value.trim());
      else reject(new DOMException("", "AbortError"));
    };
  });
}

// ---- Adding ways to sign in

/** Makes a passkey or a key by what a route asks for; gives what the other route wants. */
async function creation({ ticket, options }) {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(options);
  const made = await navigator.credentials.create({ publicKey });
  return { ticket, passkey: made.toJSON() };
}

async function addKey(kind, text) {
  const made = await creation(await fresh("POST", "/auth/passkey/begin", { kind }));
  await added(await fresh("POST", "/auth/passkey", made), text);
}

let pending;
async function addAuthenticator() {
  pending = await fresh("POST", "/auth/totp", { qr: true });
  show("authenticator");
  $("#qr").src = `data:image/svg+xml,${encodeURIComponent(pending.qr)}`;
  $("#otpauth").href = pending.uri;
  $("#secret").textContent = pending.secret.match(/.{1,4}/g).join(" ");
  $("#authenticator form").reset();
}

/** The first second factor brings recovery codes along, which are shown once. */
async function added({ recovery }, text) {
  if (recovery) await showCodes(recovery.codes);
  await account();
  announce(text);
}

function showCodes(codes) {
  show("recovery-codes");
  $("#codes").replaceChildren(...codes.map((code) => {
    const item = document.createElement("li");
    item.textContent = code;
    return item;
  }));
  const text = `Recovery codes for ${location.host}\n\n${codes.join("\n")}\n`;
  $("#download").href = `data:text/plain;charset=utf-8,${encodeURIComponent(text)}`;
  return new Promise((resolve) => { actions.codesKept = resolve; });
}

async function copy(text) {
  const done = await navigator.clipboard?.writeText(text).then(() => true, () => false);
  announce(done ? "Copied." : "The browser does not let this page copy: select the text instead.");
}

// ---- What forms and buttons do: by the `data-do` of each

const typed = (form) => ({ username: form.username.value.trim(), password: form.password.value });

const actions = {
  signIn: (form) => signIn(typed(form)),
  signInByPasskey: () => signInByPasskey(),
  async mailLink() {
    const { username } = typed($("#sign-in form"));
    if (!$("#sign-in form").username.reportValidity()) return;
    waiting = await call("POST", "/auth/login/begin", { factor: "magic-link", username });
    lookIntoMail(true);
  },
  async signInByCode(form) {
    try {
      await signIn({ factor: "magic-link", flow: waiting.flow, "magic-link": digits(form) });
    } catch (refusal) {
      if (!refusal.problem?.flow) throw refusal.code === "proof_refused" ? new Refusal({ ...refusal.problem, code: "flow_ended" }) : refusal;
      waiting.flow = refusal.problem.flow;
      throw refusal;
    }
  },
  signInByLink: () => signIn({ factor: "magic-link", "magic-link": mailed.token }),
  async forgot(form) {
    await call("POST", "/auth/forgot_password", { username: form.username.value.trim() });
    lookIntoMail(false);
  },
  async setPassword(form) {
    const path = `/auth/forgot_password/${encodeURIComponent(mailed.token)}`;
    await call("PUT", path, { password: form.password.value });
    mailed = {};
    signedOutView();
    announce("Your new password is set: sign in with it.");
  },
  async takeBack() {
    await call("POST", "/auth/email/cancel", { token: mailed.token });
    mailed = {};
    signedOutView();
    announce("Your old email address is back. You are signed out everywhere.");
  },
  async verifyFirst(form) {
    await call("POST", "/auth/email/unverified/verify", { ticket: waiting.ticket, code: digits(form) });
    await verified();
  },
  async mailFirst(element) {
    const address = element.tagName === "FORM" ? element.email.value.trim() : undefined;
    const answer = await call("POST", "/auth/email/unverified", { ticket: waiting.ticket, address });
    mailedTo(answer.address);
    announce("If no other one went a moment ago, a mail is on its way.");
  },
  async setAddress(form) {
    await fresh("POST", "/auth/email", { address: form.email.value.trim() });
    form.reset();
    await reload("#email", "A mail is on its way, to verify the address.");
  },
  async mailAgain() {
    await call("POST", "/auth/email/resend");
    announce("If no other one went a moment ago, a mail is on its way.");
  },
  async verifyAddress(form) {
    await call("POST", "/auth/email/verify", { code: digits(form) });
    form.reset();
    await reload("#email", "Your email address is verified.");
  },
  startOver: () => $("#second-step .proof").abandon(),
  async create(form, { submitter }) {
    const { username, password } = typed(form);
    const email = form.email.value.trim() || undefined;
    if (submitter?.value !== "passkey") {
      await call("POST", "/auth/register", { username, password, email });
      return signIn({ username, password }).catch(signedOutView); // made it is, all the same
    }
    if (!form.username.reportValidity()) return;
    const made = await creation(await call("POST", "/auth/passkey/register/begin", { username, email }));
    const { recovery } = await call("POST", "/auth/passkey/register", made);
    if (recovery) await showCodes(recovery.codes);
    show("sign-in");
    await act(() => signInByPasskey({ username }), $("#sign-in form"));
    if (!$("#sign-in").hidden) announce("Your account is made: sign in with your passkey.");
  },
  account,
  addPasskey: () => addKey("passkey", "The passkey is added."),
  addSecurityKey: () => addKey("security_key", "The security key is added."),
  addAuthenticator,
  toDomain() {
    show("domain");
    $("#domain form").me.focus();
  },
  signInByDomain: (form) => signInElsewhere({ me: form.me.value.trim() }),
  async addDomain() {
    const me = await ask({ title: "Add a domain", text: "Its page sends you on, to show that it is yours.", field: "Domain", most: 2048, yes: "Continue" });
    await addElsewhere({ me });
  },
  async confirmAuthenticator(form) {
    const code = form.code.value.replaceAll(" ", "");
    const answer = await fresh("POST", "/auth/totp/confirm", { id: pending.id, code });
    await added(answer, "The authenticator app is added.");
  },
  copySecret: () => copy(pending.secret),
  copyCodes: () => copy($$("#codes li").map((item) => item.textContent).join("\n")),
  async newCodes() {
    await ask({ title: "Make new recovery codes?", text: "The old ones are then good no more.", yes: "Make new codes" });
    const { codes } = await fresh("POST", "/auth/recovery");
    await showCodes(codes);
    await account();
  },
  async changePassword(form) {
    await fresh("PUT", "/auth/password", { password: form.password.value });
    form.reset();
    await reload("#change", "The password is changed.");
  },
  async endOthers() {
    await fresh("DELETE", "/auth/sessions");
    await reload("#devices", "All other devices are signed out.");
  },
  async signOut() {
    await call("POST", "/auth/logout");
    signedOutView();
    announce("You are signed out.");
  },
  showPassword({ checked, form }) {
    form.password.type = checked ? "text" : "password";
  },
  closeDialog: (button) => button.closest("dialog").close(),
};

/** Does what was asked for, once at a time, and says in words what went wrong. */
async function act(action, element, event) {
  if (element.ariaBusy === "true") return;
  element.ariaBusy = "true";
  clear();
  try {
    await action(element, event);
  } catch (error) {
    const started = element.closest("#second-step, #sign-in, #create, #domain, #mailed, #by-link");
    if (signedOut.includes(error.code) && !started) signedOutView(error);
    else complain(error, element);
  } finally {
    element.ariaBusy = "false";
  }
}

for (const element of $$("[data-do]")) {
  element.addEventListener(element.tagName === "FORM" ? "submit" : "click", (event) => {
    if (element.tagName === "FORM") event.preventDefault();
    act(actions[element.dataset.do], element, event);
  });
}

addEventListener("hashchange", () => act(async () => {
  if (!(await openLink()) && $("#account").hidden) signedOutView();
}, $("main > section:not([hidden])")));

let offers = {};
async function start() {
  const session = call("GET", "/auth/session").then(() => null, (refusal) => refusal);
  offers = await adapt();
  const refusal = await session;
  if (await openLink()) return;
  if (!refusal) return account().catch(signedOutView);
  signedOutView(refusal.code === "token_missing" ? undefined : refusal);
}
act(start, $("#sign-in form"));
