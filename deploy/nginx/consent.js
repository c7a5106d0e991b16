// The client's certificate as RFC 9440 §2.1 writes it: a structured-field byte sequence of the DER. Empty: the header is not sent on.
function clientCert(r) {
    const pem = r.variables.ssl_client_raw_cert;
    return pem ? ':' + pem.replace(/-----[^-]+-----|\s/g, '') + ':' : '';
}

export default { clientCert };
