//! Names that belong to many: public suffixes, shared hosting, and the hosts of a vendor's web site.
//!
//! A pattern below a shared name would call every customer of a hoster by one tool's name, so the catalogue may only hold full
//! names there.

/// Endings under which anybody can have a name: clouds, page builders, tunnels' visitors, the large houses.
/// Source: the private section of the Public Suffix List, and the services that catalogue rows name.
const SHARED: &[&str] = &[
    "akamaiedge.net",
    "akamaihd.net",
    "akamaized.net",
    "amazonaws.com",
    "apple.com",
    "appspot.com",
    "awsglobalaccelerator.com",
    "azure.com",
    "azureedge.net",
    "azurefd.net",
    "azurewebsites.net",
    "backblazeb2.com",
    "bitbucket.io",
    "blob.core.windows.net",
    "blogspot.com",
    "cdn.cloudflare.net",
    "cdn77.org",
    "cloudapp.net",
    "cloudflare.com",
    "cloudflare.net",
    "cloudflarestorage.com",
    "cloudfront.net",
    "cloudfunctions.net",
    "core.windows.net",
    "digitaloceanspaces.com",
    "duckdns.org",
    "dyndns.org",
    "edgekey.net",
    "edgesuite.net",
    "elasticbeanstalk.com",
    "eu.com",
    "facebook.com",
    "fastly.net",
    "firebaseapp.com",
    "firebaseio.com",
    "fly.dev",
    "ghcr.io",
    "github.com",
    "github.io",
    "githubusercontent.com",
    "gitlab.io",
    "glitch.me",
    "google.com",
    "googleapis.com",
    "googleusercontent.com",
    "gstatic.com",
    "herokuapp.com",
    "herokudns.com",
    "hopto.org",
    "icloud.com",
    "kasserver.com",
    "live.com",
    "meet.google.com",
    "microsoft.com",
    "microsoftonline.com",
    "myqnapcloud.com",
    "netlify.app",
    "no-ip.org",
    "office.com",
    "office365.com",
    "onrender.com",
    "ondigitalocean.app",
    "oraclecloud.com",
    "ovh.net",
    "pages.dev",
    "pubnubapi.com",
    "r2.dev",
    "railway.app",
    "run.app",
    "servicebus.windows.net",
    "sharepoint.com",
    "skype.com",
    "softonic.com",
    "stackpathdns.com",
    "surge.sh",
    "synology.me",
    "trafficmanager.net",
    "vercel.app",
    "visualstudio.com",
    "web.app",
    "webex.com",
    "wixsite.com",
    "windows.net",
    "windowsupdate.com",
    "wordpress.com",
    "workers.dev",
    "yandexcloud.net",
    "zoom.com",
    "zoom.us",
];

/// Second labels under which country registries sell names (`co.uk`, `com.au`).
const REGISTRY: &[&str] = &[
    "ac", "co", "com", "edu", "gob", "gov", "gv", "ltd", "me", "mil", "ne", "net", "nom", "or", "org", "plc",
    "sch",
];

/// First labels of a vendor's web site, its shop, its documents and its accounts: whoever opens them reads about the tool, or
/// manages it, and is not operated through it. Sorted.
pub const SITE_LABELS: &[&str] = &[
    "about",
    "academy",
    "account",
    "accounts",
    "admin",
    "ads",
    "analytics",
    "api",
    "app",
    "apps",
    "assets",
    "auth",
    "billing",
    "blog",
    "blogs",
    "brand",
    "buy",
    "careers",
    "cdn",
    "click",
    "cloud",
    "community",
    "connect",
    "console",
    "content",
    "dashboard",
    "demo",
    "dev",
    "developer",
    "developers",
    "dl",
    "docs",
    "documentation",
    "download",
    "downloads",
    "email",
    "events",
    "faq",
    "feedback",
    "files",
    "forum",
    "forums",
    "get",
    "go",
    "help",
    "helpdesk",
    "hub",
    "id",
    "image",
    "images",
    "img",
    "info",
    "ir",
    "jobs",
    "kb",
    "knowledge",
    "knowledgebase",
    "learn",
    "legal",
    "link",
    "links",
    "login",
    "m",
    "mail",
    "manage",
    "manual",
    "marketing",
    "media",
    "metrics",
    "mta-sts",
    "my",
    "news",
    "ns1",
    "ns2",
    "packages",
    "partner",
    "partners",
    "pay",
    "portal",
    "press",
    "privacy",
    "promo",
    "register",
    "releases",
    "resources",
    "sales",
    "search",
    "secure",
    "security",
    "share",
    "shop",
    "signup",
    "smtp",
    "sso",
    "stage",
    "staging",
    "static",
    "stats",
    "status",
    "store",
    "support",
    "survey",
    "test",
    "track",
    "tracking",
    "training",
    "trust",
    "update",
    "updates",
    "upload",
    "video",
    "web",
    "webinar",
    "webmail",
    "wiki",
    "www",
    "www2",
];

/// The shared name that a pattern with the fixed end `fixed` would speak for: that end itself, or for a pattern that takes in many
/// names also what it lies below.
pub(super) fn speaks_for(fixed: &str, many: bool) -> Option<&str> {
    let mut rest = fixed;
    loop {
        if SHARED.contains(&rest) || is_registry(rest) {
            // A name of its own below a hoster's is fine; so is anything below a name of its own below a registry's.
            let own = rest.len() < fixed.len() && (!many || is_registry(rest) || holds_services(rest));
            return (!own).then_some(rest);
        }
        rest = rest.split_once('.')?.1;
    }
}

/// Shared names below which a name and what is below that one have one owner.
fn holds_services(name: &str) -> bool {
    matches!(name, "eu.com")
        // Services of the large houses.
        || matches!(name, "googleapis.com" | "google.com" | "microsoft.com" | "visualstudio.com")
}

/// `com.au`, `co.kr`: a registry's label before a country's two letters.
fn is_registry(name: &str) -> bool {
    name.split_once('.').is_some_and(|(second, country)| country.len() == 2 && REGISTRY.contains(&second))
}

/// Whether a label is one of [`SITE_LABELS`].
pub(super) fn is_site(label: &str) -> bool {
    SITE_LABELS.binary_search(&label).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_labels_are_sorted_for_the_search() {
        assert!(SITE_LABELS.is_sorted(), "sort SITE_LABELS");
        assert!(is_site("www") && is_site("docs") && !is_site("relay-1"));
    }

    #[test]
    fn a_suffix_of_many_owners_is_told_and_a_name_of_ones_own_is_not() {
        for (fixed, many, told) in [
            ("amazonaws.com", false, Some("amazonaws.com")),
            ("s3.amazonaws.com", true, Some("amazonaws.com")),
            ("bucket.s3.amazonaws.com", false, None),
            ("github.io", true, Some("github.io")),
            ("co.uk", true, Some("co.uk")),
            ("com.au", false, Some("com.au")),
            ("rmmservice.com.au", true, None),
            ("systemmonitor.eu.com", true, None),
            ("eu.com", true, Some("eu.com")),
            ("remotedesktop-pa.googleapis.com", true, None),
            ("googleapis.com", true, Some("googleapis.com")),
            ("example.com", true, None),
            ("example.co", true, None),
        ] {
            assert_eq!(speaks_for(fixed, many), told, "{fixed}, many: {many}");
        }
    }
}
