# Runs in a node image: builds the packages in /out/packages into a signed repository in /out.
DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends gnupg > /dev/null 2>&1
cd /out
architecture=$(dpkg --print-architecture)
index=main/binary-$architecture/Packages
mkdir -p "dists/stable/${index%/*}" pool
for tree in packages/*; do
    package=pool/grafana_${tree#*/}_all.deb
    dpkg-deb --root-owner-group --build "$tree" "$package" > /dev/null
    dpkg-deb --field "$package"
    printf 'Filename: %s\nSize: %s\nSHA256: %s\n\n' \
        "$package" "$(stat -c %s "$package")" "$(sha256sum "$package" | cut -d ' ' -f 1)"
done > "dists/stable/$index"
rm -r packages
cd dists/stable
cat > Release <<END
Suite: stable
Components: main
Architectures: $architecture
Date: $(date -Ru)
SHA256:
 $(sha256sum "$index" | cut -d ' ' -f 1) $(stat -c %s "$index") $index
END
gpg --quiet --batch --passphrase '' --quick-generate-key 'Stand-in for Grafana' ed25519 sign never
gpg --quiet --clearsign --output InRelease Release
gpg --quiet --armor --export > /out/key.asc
