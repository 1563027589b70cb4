//! Names in domains that are nobody's own: the ends of domains, and those of providers, below which customers have names.

use super::domains::COMMON_ENDS;

/// Generic top-level domains beside the common ones. They reveal nothing about the owner of a domain; those of two letters
/// (countries) do not either.
const MORE_ENDS: [&str; 8] = ["info", "dev", "app", "cloud", "online", "site", "home", "test"];
/// Generic second-level domains below a country, as in co.uk.
const SECOND_ENDS: [&str; 6] = ["co", "com", "ac", "gov", "org", "net"];

/// Domains of providers below which customers have their own names.
const TENANTS: [&str; 22] = [
    "okta.com",
    "oktapreview.com",
    "okta-emea.com",
    "sharepoint.com",
    "onmicrosoft.com",
    "slack.com",
    "my.salesforce.com",
    "atlassian.net",
    "zendesk.com",
    "service-now.com",
    "auth0.com",
    "azurewebsites.net",
    "vault.azure.net",
    "database.windows.net",
    "core.windows.net",
    "iam.gserviceaccount.com",
    "r.appspot.com",
    "appspot.com",
    "awsapps.com",
    "web.app",
    "firebaseapp.com",
    "cluster.local",
];
/// Names below these domains that are the provider's own.
const SERVICES: [&str; 29] = [
    "www",
    "hooks",
    "api",
    "login",
    "support",
    "status",
    "files",
    "app",
    "admin",
    "blob",
    "queue",
    "table",
    "file",
    "dfs",
    "svc",
    "ew",
    "uc",
    "management",
    "graph",
    "manage",
    "de",
    "an",
    "container-engine-robot",
    "pod",
    "help",
    "developer",
    "id",
    "auth",
    "edge",
];

/// Whether a label in lower case is the end of domains of many owners, or of a country.
pub fn is_generic(lower: &str) -> bool {
    COMMON_ENDS.contains(&lower)
        || MORE_ENDS.contains(&lower)
        || lower.len() == 2 && lower.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Whether a label before that of a country is generic, too, as in `co.uk`.
pub fn is_second_end(label: &str) -> bool {
    SECOND_ENDS.contains(&label.to_lowercase().as_str())
}

/// The number of labels before the domain of a provider below which customers have their own names.
pub fn tenants_end(labels: &[&str]) -> Option<usize> {
    let lengths = (1..labels.len().min(4)).rev();
    lengths
        .map(|length| labels.len() - length)
        .find(|at| TENANTS.contains(&labels[*at..].join(".").to_lowercase().as_str()))
}

/// Whether a label below such a domain is the provider's own.
pub fn is_service(label: &str) -> bool {
    SERVICES.contains(&label.to_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn customers_are_told_from_providers() {
        let end = |domain: &str| tenants_end(&domain.split('.').collect::<Vec<_>>());
        assert_eq!((end("acme.okta.com"), end("a.b.vault.azure.net")), (Some(1), Some(2)));
        assert_eq!((end("okta.com"), end("acme.com"), end("com")), (None, None, None));
        assert!(
            is_service("WWW") && !is_service("acme") && is_generic("fi") && is_generic("com") && !is_generic("acme")
        );
    }
}
