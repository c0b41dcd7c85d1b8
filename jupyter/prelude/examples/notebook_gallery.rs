//! Writes what a notebook shows, of one value of each kind, as pages for looking at in light and dark.
//!
//! `cargo run --example notebook_gallery -- FOLDER`

use base64::Engine as _;
use tutti_notebook::*;

/// The colours that JupyterLab gives its themes.
const THEMES: [(&str, &str); 2] = [
    (
        "light",
        "--jp-ui-font-color1:rgba(0,0,0,.87);--jp-ui-font-color2:rgba(0,0,0,.54);--jp-layout-color0:#fff;--jp-border-color2:#e0e0e0;--jp-brand-color1:#1976d2;--jp-warn-color1:#f57c00;--jp-error-color1:#d32f2f",
    ),
    (
        "dark",
        "--jp-ui-font-color1:#fff;--jp-ui-font-color2:rgba(255,255,255,.7);--jp-layout-color0:#111;--jp-border-color2:#616161;--jp-brand-color1:#2196f3;--jp-warn-color1:#ff9800;--jp-error-color1:#f44336",
    ),
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::path::PathBuf::from(std::env::args().nth(1).unwrap_or_else(|| "target/notebook_gallery".into()));
    std::fs::create_dir_all(&folder)?;
    let cells = simulate_with("five_clusters_two_batches").n_cells(1200).n_genes(200).run()?;
    let odd: Vec<String> =
        (0..1200).map(|i| if i % 7 == 0 { String::new() } else { format!("<script>alert({})</script>", i % 3) }).collect();
    let cells =
        cells.with_obs("odd & <b>", odd)?.with_obs("n_counts", (0..1200).map(|i| i as f32 * 1.7).collect::<Vec<f32>>())?;
    let model = concord(&cells).batch("batch").n_epochs(10).latent_dim(30).set("encoder_dims", 100).train()?;
    let z = model.embed(&cells)?;
    let before = pca(&cells)?;
    let (layout, clusters) = (umap(&z)?, leiden(&z)?);
    let scores = score(&cells).label("cell_type").batch("batch").embedding(&z).embedding(&before).embedding(&layout).run()?;
    let three = umap_with(&z).n_components(3).run()?;
    let found = transfer_with(&z, "cell_type", &z).max_novelty(0.99).run()?;
    let genes = cells.gene_names();
    let some: Vec<&str> = genes.iter().take(12).map(String::as_str).collect();
    let truth = cells.obs("cell_type")?;
    let shown: Vec<(&str, Box<dyn Rich>)> = vec![
        ("cells", Box::new(cells.with_embedding(&z)?.with_embedding(&layout)?)),
        ("model", Box::new(model.clone())),
        ("history", Box::new(model.history())),
        ("embedding", Box::new(z.clone())),
        ("table of obs", Box::new(cells.obs_table()?)),
        ("wide table", Box::new(z.table()?)),
        ("clusters", Box::new(clusters.clone())),
        ("numbers", Box::new(cells.obs("n_counts")?)),
        ("odd names", Box::new(cells.obs("odd & <b>")?)),
        ("scores", Box::new(scores)),
        ("transferred", Box::new(found.clone())),
        ("confusion", Box::new(confusion(&truth, &clusters)?)),
        ("topology", Box::new(topology_with(&z).max_points(150).max_dim(1).run()?)),
        ("attribution", Box::new(model.attribution(&cells)?)),
        ("scatter", Box::new(layout.plot().color_by("batch").color_by(&clusters).color_by("n_counts").density())),
        ("single", Box::new(layout.plot().color_by(&truth).title("cell types").label_clusters())),
        ("heatmap", Box::new(heatmap(&cells, &some, "cell_type")?)),
        ("dots", Box::new(dot_plot(&cells, &some, "cell_type")?)),
        ("river", Box::new(river(&[&truth, &clusters])?)),
        ("composition", Box::new(composition(&clusters, &cells.obs("batch")?)?)),
        ("no figure", Box::new(layout.plot().color_by("donor"))),
        ("3D", Box::new(three.plot_3d().color_by(&truth).color_by("batch").title("three dimensions"))),
    ];
    for (theme, colors) in THEMES {
        let mut page = format!(
            "<!DOCTYPE html><meta charset=utf-8><body style=\"{colors};background:var(--jp-layout-color0);color:var(--jp-ui-font-color1);width:900px;margin:20px;font-family:sans-serif\">"
        );
        for (name, value) in &shown {
            let content = value.content();
            let body = match (content.as_html(), content.as_svg()) {
                (Some(html), _) => html.to_owned(),
                (None, Some(svg)) => svg.to_owned(),
                (None, None) => match content.as_png() {
                    Some(png) => format!(
                        "<img width=600 src=\"data:image/png;base64,{}\">",
                        base64::engine::general_purpose::STANDARD.encode(png)
                    ),
                    None => content.as_text().to_owned(),
                },
            };
            page += &format!("<h4 style=\"margin:18px 0 4px;opacity:.5\">{name} ({} kB)</h4>{body}", body.len() / 1000);
        }
        std::fs::write(folder.join(format!("{theme}.html")), page)?;
    }
    for (name, value) in &shown {
        println!("{name}\n{}\n", value.content().as_text());
    }
    Ok(())
}
