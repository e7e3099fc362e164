// Command server is a static HTTP service that opens most of its files only on request.
package main

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"html/template"
	"io"
	"log"
	"mime"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"os/user"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

var settings atomic.Value

func load() {
	text, err := os.ReadFile("conf/settings.json")
	if err != nil {
		log.Printf("no settings: %v", err)
		return
	}
	var values map[string]any
	if err := json.Unmarshal(text, &values); err != nil {
		log.Printf("bad settings: %v", err)
		return
	}
	settings.Store(values)
}

func reply(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(value)
}

func zone(w http.ResponseWriter, r *http.Request) {
	place, err := time.LoadLocation(strings.TrimPrefix(r.URL.Path, "/time/"))
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	reply(w, time.Date(2024, 7, 1, 12, 0, 0, 0, time.UTC).In(place).Format(time.RFC1123Z), nil)
}

func view(w http.ResponseWriter, r *http.Request) {
	name := filepath.Base(r.URL.Path)
	page, err := template.ParseFiles("templates/base.html", "templates/"+name+".html")
	if err != nil {
		reply(w, nil, err)
		return
	}
	if err := page.ExecuteTemplate(w, "base", name); err != nil {
		log.Print(err)
	}
}

func convert(w http.ResponseWriter, r *http.Request) {
	command := exec.Command("/usr/local/libexec/convert")
	command.Stdin = r.Body
	out, err := command.Output()
	reply(w, string(out), err)
}

func roots(w http.ResponseWriter, _ *http.Request) {
	pool, err := x509.SystemCertPool()
	if err != nil {
		reply(w, nil, err)
		return
	}
	reply(w, len(pool.Subjects()), nil)
}

func who(w http.ResponseWriter, r *http.Request) {
	account, err := user.Lookup(r.URL.Query().Get("name"))
	if err != nil {
		reply(w, nil, err)
		return
	}
	reply(w, account.Uid+":"+account.HomeDir, nil)
}

func host(w http.ResponseWriter, _ *http.Request) {
	found, err := net.DefaultResolver.LookupHost(context.Background(), "localhost")
	sort.Strings(found)
	reply(w, found, err)
}

func temporary(w http.ResponseWriter, _ *http.Request) {
	file, err := os.CreateTemp("", "note")
	if err != nil {
		reply(w, nil, err)
		return
	}
	defer os.Remove(file.Name())
	fmt.Fprint(file, "for a moment")
	file.Seek(0, io.SeekStart)
	text, err := io.ReadAll(file)
	reply(w, string(text), err)
}

func local(w http.ResponseWriter, _ *http.Request) {
	reply(w, time.Date(2024, 7, 1, 12, 0, 0, 0, time.Local).Format(time.RFC3339), nil)
}

func main() {
	listen := flag.String("listen", ":8080", "address")
	version := flag.Bool("version", false, "print the version")
	flag.Parse()
	if *version {
		fmt.Println("sample 1.0")
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			w.WriteHeader(http.StatusNotFound)
			http.ServeFile(w, r, "static/404.html")
			return
		}
		fmt.Fprintln(w, "hello")
	})
	mux.HandleFunc("/time/", zone)
	mux.HandleFunc("/view/", view)
	mux.HandleFunc("/convert", convert)
	mux.HandleFunc("/roots", roots)
	mux.HandleFunc("/who", who)
	mux.HandleFunc("/host", host)
	mux.HandleFunc("/tmp", temporary)
	mux.HandleFunc("/local", local)
	mux.HandleFunc("/settings", func(w http.ResponseWriter, _ *http.Request) {
		if settings.Load() == nil {
			load()
		}
		reply(w, settings.Load(), nil)
	})
	mux.HandleFunc("/mime/", func(w http.ResponseWriter, r *http.Request) {
		reply(w, mime.TypeByExtension(filepath.Ext(r.URL.Path)), nil)
	})
	mux.Handle("/static/", http.StripPrefix("/static/", http.FileServer(http.Dir("static"))))

	server := &http.Server{Addr: *listen, Handler: mux}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP, syscall.SIGTERM, os.Interrupt)
	go func() {
		for got := range signals {
			if got != syscall.SIGHUP {
				server.Shutdown(context.Background())
				return
			}
			load()
			log.Print("settings loaded again")
		}
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		log.Fatal(err)
	}
}
